//! jsonpath: the functions `jsonb_path_...` and the operators `@?` and `@@`.
//!
//! A path is text here; the same path for all rows is read once.

mod lexer;
mod parse;
mod run;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, StringBuilder};
use thalweg_dataflow::plan::{Expanded, SetFunction, Text};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::json::Kind;
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::slices::sliced;
use super::super::udf::Input;
use super::at;
use parse::Path;
use run::Run;

/// The arguments of a call: document, path, and perhaps variables and whether errors are taken for nothing.
struct Calls {
    documents: StringArray,
    paths: StringArray,
    variables: Option<StringArray>,
    silent: Option<BooleanArray>,
    /// The path that all rows have.
    known: Option<Path>,
}

impl Calls {
    fn new(columns: &[ArrayRef]) -> Result<Calls> {
        let text = |place: usize| {
            let column = columns.get(place).and_then(|column| column.as_string_opt::<i32>());
            column.cloned().ok_or_else(|| Error::internal("a jsonpath call over other layouts"))
        };
        let paths = text(1)?;
        let first = paths.iter().next().flatten();
        let same = first.filter(|first| paths.iter().all(|path| path == Some(first)));
        let known = same.map(parse::parse).transpose()?;
        Ok(Calls {
            documents: text(0)?,
            variables: if columns.len() > 2 { Some(text(2)?) } else { None },
            silent: columns.get(3).and_then(|column| column.as_boolean_opt().cloned()),
            paths,
            known,
        })
    }

    fn of(input: &Input<'_>) -> Result<Calls> {
        Calls::new(&(0..input.args.len()).map(|place| input.array(place)).collect::<Result<Vec<_>>>()?)
    }

    fn is_silent(&self, row: usize) -> bool {
        self.silent.as_ref().is_some_and(|silent| silent.value(row))
    }

    /// What a row's path finds; `None`: an argument is null, or it fails in silence.
    fn found(&self, row: usize, silent: bool) -> Result<Option<Vec<String>>> {
        let variables = self.variables.as_ref().map(|variables| at(variables, row));
        let unsaid = self.silent.as_ref().is_some_and(|silent| silent.is_null(row));
        let (Some(document), Some(path)) = (at(&self.documents, row), at(&self.paths, row)) else { return Ok(None) };
        if variables == Some(None) || unsaid {
            return Ok(None);
        }
        let own;
        let path = match &self.known {
            Some(path) => path,
            None => {
                own = parse::parse(path)?;
                &own
            }
        };
        match Run::all(path, document, variables.flatten()) {
            Ok(found) => Ok(Some(found.into_iter().map(|value| value.into_owned()).collect())),
            Err(error) if silent && is_suppressed(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether an error is one that a silent path takes for nothing: those of values, not of the path itself.
fn is_suppressed(error: &Error) -> bool {
    matches!(
        error.state(),
        SqlState::JsonMemberNotFound
            | SqlState::JsonObjectNotFound
            | SqlState::JsonNumberNotFound
            | SqlState::JsonArrayNotFound
            | SqlState::InvalidJsonSubscript
            | SqlState::NonNumericJson
            | SqlState::SingletonJsonRequired
            | SqlState::DivisionByZero
            | SqlState::NumericOutOfRange
    )
}

/// `jsonb_path_exists`, and `@?`, which is silent.
pub(super) fn exists(input: &Input<'_>) -> Result<ArrayRef> {
    let calls = Calls::of(input)?;
    let each = |row| Ok(calls.found(row, input.op() == "@?" || calls.is_silent(row))?.map(|found| !found.is_empty()));
    Ok(Arc::new((0..input.rows).map(each).collect::<Result<BooleanArray>>()?))
}

/// `jsonb_path_match`, and `@@`, which is silent.
pub(super) fn matches(input: &Input<'_>) -> Result<ArrayRef> {
    let calls = Calls::of(input)?;
    let each = |row| {
        let silent = input.op() == "@@" || calls.is_silent(row);
        let Some(found) = calls.found(row, silent)? else { return Ok(None) };
        match found.as_slice() {
            [one] if Kind::of(one) == Kind::Bool => Ok(Some(one == "true")),
            [one] if Kind::of(one) == Kind::Null => Ok(None),
            _ if silent => Ok(None),
            _ => Err(Error::new(SqlState::SingletonJsonRequired, "single boolean result is expected")),
        }
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<Result<BooleanArray>>()?))
}

/// `jsonb_path_query_array` and `jsonb_path_query_first`.
pub(super) fn collected(input: &Input<'_>) -> Result<ArrayRef> {
    let calls = Calls::of(input)?;
    let (whole, has_null) = (input.name == "jsonb_path_query_array", nulls(input)?);
    let mut out = StringBuilder::new();
    for (row, has_null) in has_null.into_iter().enumerate() {
        let found = calls.found(row, calls.is_silent(row))?;
        match found {
            _ if has_null => out.append_null(),
            Some(found) if whole => out.append_value(format!("[{}]", found.join(", "))),
            // What fails in silence finds nothing.
            None if whole => out.append_value("[]"),
            found => out.append_option(found.unwrap_or_default().first()),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// The rows that have a null among their arguments.
fn nulls(input: &Input<'_>) -> Result<Vec<bool>> {
    let columns = (0..input.args.len()).map(|place| input.array(place)).collect::<Result<Vec<_>>>()?;
    Ok((0..input.rows).map(|row| columns.iter().any(|column| column.is_null(row))).collect())
}

/// `jsonb_path_query`: each value that is found, a row.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct PathRows;

/// Its name.
pub(in super::super) const QUERY: &str = "jsonb_path_query";

impl Text for PathRows {
    fn text(&self) -> String {
        QUERY.to_string()
    }
}

impl SetFunction for PathRows {
    fn columns(&self) -> Vec<PgType> {
        vec![PgType::Jsonb]
    }

    fn expand(&self, arguments: RecordBatch) -> Box<dyn Iterator<Item = Result<Expanded>> + Send> {
        let count = arguments.num_rows();
        let calls = match Calls::new(arguments.columns()) {
            Ok(calls) => calls,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let open = move |row: usize| {
            let found = calls.found(row, calls.is_silent(row))?.unwrap_or_default();
            Ok(Box::new(found.into_iter().map(Ok)) as Box<dyn Iterator<Item = Result<String>> + Send>)
        };
        let column = |found: Vec<String>| Ok(vec![Arc::new(StringArray::from(found)) as ArrayRef]);
        sliced(count, open, column)
    }
}
