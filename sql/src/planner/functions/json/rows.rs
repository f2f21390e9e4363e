//! The parts of documents as rows: json_array_elements, json_each, json_object_keys and their kin.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use thalweg_dataflow::Result;
use thalweg_dataflow::plan::{Expanded, SetFunction, Text};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::json::{self, Kind};

use super::super::slices::sliced;
use super::access::{invalid, text_of};

/// One of the functions, over json or jsonb.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Rows {
    name: &'static str,
    gives: Gives,
    /// Whether values are given as text.
    as_text: bool,
    of: &'static PgType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    Elements,
    Fields,
    Keys,
}

const fn rows(name: &'static str, gives: Gives, as_text: bool, of: &'static PgType) -> Rows {
    Rows { name, gives, as_text, of }
}

const ALL: &[Rows] = &[
    rows("json_array_elements", Gives::Elements, false, &PgType::Json),
    rows("jsonb_array_elements", Gives::Elements, false, &PgType::Jsonb),
    rows("json_array_elements_text", Gives::Elements, true, &PgType::Json),
    rows("jsonb_array_elements_text", Gives::Elements, true, &PgType::Jsonb),
    rows("json_each", Gives::Fields, false, &PgType::Json),
    rows("jsonb_each", Gives::Fields, false, &PgType::Jsonb),
    rows("json_each_text", Gives::Fields, true, &PgType::Json),
    rows("jsonb_each_text", Gives::Fields, true, &PgType::Jsonb),
    rows("json_object_keys", Gives::Keys, true, &PgType::Json),
    rows("jsonb_object_keys", Gives::Keys, true, &PgType::Jsonb),
];

impl Rows {
    /// The function with this name.
    pub(in super::super) fn named(name: &str) -> Option<Rows> {
        ALL.iter().find(|known| known.name == name).copied()
    }

    /// The type of its argument.
    pub(in super::super) fn argument(self) -> PgType {
        self.of.clone()
    }

    /// The type of its values.
    pub(in super::super) fn value(self) -> PgType {
        if self.as_text { PgType::Text } else { self.of.clone() }
    }

    /// What its columns are called where it does not say so by its name.
    pub(in super::super) fn column_names(self) -> &'static [&'static str] {
        match self.gives {
            Gives::Elements => &["value"],
            Gives::Fields => &["key", "value"],
            Gives::Keys => &[],
        }
    }

    /// Whether a document has such parts. Errors 22023.
    fn check(self, document: &str) -> Result<()> {
        let (name, is_jsonb) = (self.name, *self.of == PgType::Jsonb);
        let wanted = if self.gives == Gives::Elements { Kind::Array } else { Kind::Object };
        let kind = Kind::of(document);
        if kind == wanted {
            return Ok(());
        }
        let what = match (kind, wanted) {
            (Kind::Object, _) => "object",
            (Kind::Array, _) => "array",
            _ => "scalar",
        };
        Err(invalid(match (self.gives, is_jsonb) {
            (Gives::Elements, true) => {
                format!("cannot extract elements from {} {what}", if what == "object" { "an" } else { "a" })
            }
            (Gives::Elements, false) if what == "object" => format!("cannot call {name} on a non-array"),
            (Gives::Elements, false) => format!("cannot call {name} on a scalar"),
            (Gives::Fields, true) => format!("cannot call {name} on a non-object"),
            (Gives::Fields, false) if what == "array" => "cannot deconstruct an array as an object".into(),
            (Gives::Fields, false) => "cannot deconstruct a scalar".into(),
            (Gives::Keys, _) => format!("cannot call {name} on {} {what}", if what == "array" { "an" } else { "a" }),
        }))
    }

    /// A document's parts, each with its key.
    fn of(self, document: &str) -> Result<Vec<(String, Option<String>)>> {
        self.check(document)?;
        let part = |(key, value): (Option<&str>, &str)| {
            let key = json::string_of(key.unwrap_or_default())?.into_owned();
            let value = match (self.gives, self.as_text) {
                (Gives::Keys, _) => None,
                (_, true) => text_of(value)?.map(|text| text.into_owned()),
                (_, false) => Some(value.to_string()),
            };
            Ok((key, value))
        };
        json::members(document).map(part).collect()
    }
}

impl Text for Rows {
    fn text(&self) -> String {
        self.name.to_string()
    }
}

impl SetFunction for Rows {
    fn columns(&self) -> Vec<PgType> {
        match self.gives {
            Gives::Elements => vec![self.value()],
            Gives::Fields => vec![PgType::Text, self.value()],
            Gives::Keys => vec![PgType::Text],
        }
    }

    fn expand(&self, arguments: RecordBatch) -> Box<dyn Iterator<Item = Result<Expanded>> + Send> {
        let count = arguments.num_rows();
        let own = *self;
        let open = move |row: usize| {
            let documents = arguments.column(0).as_string::<i32>();
            let parts = if documents.is_valid(row) { own.of(documents.value(row))? } else { Vec::new() };
            Ok(Box::new(parts.into_iter().map(Ok)) as Box<dyn Iterator<Item = Result<(String, Option<String>)>> + Send>)
        };
        sliced(count, open, move |parts| {
            let (keys, values): (Vec<String>, Vec<Option<String>>) = parts.into_iter().unzip();
            let keys = || Arc::new(StringArray::from_iter_values(&keys)) as ArrayRef;
            let values = || Arc::new(values.iter().map(Option::as_deref).collect::<StringArray>()) as ArrayRef;
            Ok(match own.gives {
                Gives::Elements => vec![values()],
                Gives::Fields => vec![keys(), values()],
                Gives::Keys => vec![keys()],
            })
        })
    }
}
