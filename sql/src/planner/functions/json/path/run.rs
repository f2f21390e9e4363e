//! jsonpath: what a path finds in a document.
//!
//! Lax paths look into arrays by themselves and take what is not there for nothing; strict ones fail. A
//! predicate that fails is unknown.

use std::borrow::Cow;
use std::cmp::Ordering;

use thalweg_dataflow::types::json::{self, Kind};
use thalweg_dataflow::types::{Numeric, PgType, TextStyle, Zone, parse_text, write_text};
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::access::{field, invalid};
use super::parse::{Access, Expr, Method, Path, Predicate};

type Value<'a> = Cow<'a, str>;

/// A path over one document.
pub(super) struct Run<'a> {
    path: &'a Path,
    document: &'a str,
    variables: Option<&'a str>,
}

/// What an expression sees besides the document.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// `@`.
    current: &'a str,
    /// `last`, in a subscript.
    last: i64,
}

fn fault(state: SqlState, message: impl Into<String>) -> Error {
    Error::new(state, message)
}

impl<'a> Run<'a> {
    /// The values that a path finds. Errors 22023 where the variables are no object, and the path's own.
    pub(super) fn all(path: &'a Path, document: &'a str, variables: Option<&'a str>) -> Result<Vec<Value<'a>>> {
        if variables.is_some_and(|variables| Kind::of(variables) != Kind::Object) {
            return Err(invalid("\"vars\" argument is not an object")
                .detail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object."));
        }
        let run = Run { path, document, variables };
        let found = run.values(&path.expr, Place { current: document, last: 0 })?;
        Ok(found.into_iter().map(|value| Cow::Owned(value.into_owned())).collect())
    }

    fn lax(&self) -> bool {
        !self.path.strict
    }

    /// The values; arrays among them as their elements where the path is lax.
    fn unwrapped<'v>(&'v self, expr: &'v Expr, place: Place<'v>) -> Result<Vec<Value<'v>>> {
        let values = self.values(expr, place)?;
        if !self.lax() {
            return Ok(values);
        }
        let mut out = Vec::with_capacity(values.len());
        for value in values {
            match Kind::of(&value) {
                Kind::Array => out.extend(json::members(&value).map(|(_, value)| Cow::Owned(value.to_string()))),
                _ => out.push(value),
            }
        }
        Ok(out)
    }

    fn values<'v>(&'v self, expr: &'v Expr, place: Place<'v>) -> Result<Vec<Value<'v>>> {
        Ok(vec![match expr {
            Expr::Root => Cow::Borrowed(self.document),
            Expr::Current => Cow::Borrowed(place.current),
            Expr::Last => Cow::Owned(place.last.to_string()),
            Expr::Literal(text) => Cow::Borrowed(text.as_str()),
            Expr::Variable(name) => {
                let missing =
                    || fault(SqlState::UndefinedObject, format!("could not find jsonpath variable \"{name}\""));
                let found = self.variables.map_or(Ok(None), |variables| field(variables, name))?;
                Cow::Borrowed(found.ok_or_else(missing)?)
            }
            Expr::Judged(predicate) => Cow::Borrowed(match self.holds(predicate, place)? {
                Some(true) => "true",
                Some(false) => "false",
                None => "null",
            }),
            Expr::Signed(sign, inner) => return self.signed(*sign, inner, place),
            Expr::Calculated(op, left, right) => Cow::Owned(self.calculated(*op, left, right, place)?),
            Expr::Accessed(base, access) => {
                let mut found = Vec::new();
                for value in self.values(base, place)? {
                    self.access(access, &value, place, self.lax(), &mut found)?;
                }
                return Ok(found);
            }
        }])
    }

    fn signed<'v>(&'v self, sign: char, inner: &'v Expr, place: Place<'v>) -> Result<Vec<Value<'v>>> {
        let mut out = Vec::new();
        for value in self.unwrapped(inner, place)? {
            if Kind::of(&value) != Kind::Number {
                let message = format!("operand of unary jsonpath operator {sign} is not a numeric value");
                return Err(fault(SqlState::JsonNumberNotFound, message));
            }
            let number = Numeric::parse(&value)?;
            out.push(Cow::Owned(if sign == '-' { number.neg().to_string() } else { number.to_string() }));
        }
        Ok(out)
    }

    fn calculated(&self, op: char, left: &Expr, right: &Expr, place: Place<'_>) -> Result<String> {
        let operand = |side: &str, expr: &Expr| -> Result<Numeric> {
            let values = self.unwrapped(expr, place)?;
            match values.as_slice() {
                [value] if Kind::of(value) == Kind::Number => Numeric::parse(value),
                _ => {
                    let message = format!("{side} operand of jsonpath operator {op} is not a single numeric value");
                    Err(fault(SqlState::SingletonJsonRequired, message))
                }
            }
        };
        let (left, right) = (operand("left", left)?, operand("right", right)?);
        Ok(match op {
            '+' => left.add(&right)?,
            '-' => left.sub(&right)?,
            '*' => left.mul(&right)?,
            '/' => left.div(&right)?,
            _ => left.rem(&right)?,
        }
        .to_string())
    }

    /// What an accessor gives of one value; `unwrap`: of an array's elements instead, if it asks for no array.
    fn access<'v>(
        &self,
        access: &Access,
        value: &str,
        place: Place<'_>,
        unwrap: bool,
        found: &mut Vec<Value<'v>>,
    ) -> Result<()> {
        let kind = Kind::of(value);
        let looks_inside = match access {
            Access::Key(_) | Access::AnyKey | Access::Filter(_) => true,
            Access::Method(method) => !matches!(method, Method::Type | Method::Size),
            _ => false,
        };
        if unwrap && looks_inside && kind == Kind::Array {
            for (_, value) in json::members(value) {
                self.access(access, value, place, false, found)?;
            }
            return Ok(());
        }
        let mut push = |value: &str| found.push(Cow::Owned(value.to_string()));
        match (access, kind) {
            (Access::Key(key), Kind::Object) => match field(value, key)? {
                Some(value) => push(value),
                None if self.lax() => {}
                None => {
                    let mut quoted = String::new();
                    json::push_quoted(key, &mut quoted);
                    let message = format!("JSON object does not contain key {quoted}");
                    return Err(fault(SqlState::JsonMemberNotFound, message));
                }
            },
            (Access::AnyKey, Kind::Object) | (Access::AnyElement, Kind::Array) => {
                json::members(value).for_each(|(_, value)| push(value));
            }
            (Access::AnyElement, _) if self.lax() => push(value),
            (Access::Key(_) | Access::AnyKey, _) if self.lax() => {}
            (Access::Key(_), _) => {
                let message = "jsonpath member accessor can only be applied to an object";
                return Err(fault(SqlState::JsonMemberNotFound, message));
            }
            (Access::AnyKey, _) => {
                let message = "jsonpath wildcard member accessor can only be applied to an object";
                return Err(fault(SqlState::JsonObjectNotFound, message));
            }
            (Access::AnyElement, _) => {
                let message = "jsonpath wildcard array accessor can only be applied to an array";
                return Err(fault(SqlState::JsonArrayNotFound, message));
            }
            (Access::Elements(subscripts), _) => return self.elements(subscripts, value, place, found),
            (Access::Below(from, to), _) => below(value, 0, (*from, *to), found),
            (Access::Filter(predicate), _) => {
                if self.holds(predicate, Place { current: value, ..place })? == Some(true) {
                    push(value);
                }
            }
            (Access::Method(method), _) => push(&self.method(*method, value)?),
        }
        Ok(())
    }

    fn elements<'v>(
        &self,
        subscripts: &[(Expr, Option<Expr>)],
        value: &str,
        place: Place<'_>,
        found: &mut Vec<Value<'v>>,
    ) -> Result<()> {
        let elements: Vec<&str> = match Kind::of(value) {
            Kind::Array => json::members(value).map(|(_, value)| value).collect(),
            _ if self.lax() => vec![value],
            _ => {
                let message = "jsonpath array accessor can only be applied to an array";
                return Err(fault(SqlState::JsonArrayNotFound, message));
            }
        };
        let wrong = |message: &str| fault(SqlState::InvalidJsonSubscript, message);
        let place = Place { last: elements.len() as i64 - 1, ..place };
        let number = |expr: &Expr| -> Result<i64> {
            let values = self.values(expr, place)?;
            let [value] = values.as_slice() else {
                return Err(wrong("jsonpath array subscript is not a single numeric value"));
            };
            if Kind::of(value) != Kind::Number {
                return Err(wrong("jsonpath array subscript is not a single numeric value"));
            }
            let whole = Numeric::parse(value)?.trunc(0)?.to_i64("integer");
            let beyond = || wrong("jsonpath array subscript is out of integer range");
            whole.ok().filter(|whole| i32::try_from(*whole).is_ok()).ok_or_else(beyond)
        };
        for (from, to) in subscripts {
            let from = number(from)?;
            let to = to.as_ref().map_or(Ok(from), number)?;
            if !self.lax() && (from < 0 || from > to || to > place.last) {
                return Err(wrong("jsonpath array subscript is out of bounds"));
            }
            for at in from.max(0)..=to.min(place.last) {
                let element = usize::try_from(at).ok().and_then(|at| elements.get(at));
                found.extend(element.map(|element| Cow::Owned(element.to_string())));
            }
        }
        Ok(())
    }

    fn method(&self, method: Method, value: &str) -> Result<String> {
        let kind = Kind::of(value);
        let name = match method {
            Method::Type => return Ok(format!("\"{}\"", kind.name())),
            Method::Size => {
                return match kind {
                    Kind::Array => Ok(json::members(value).count().to_string()),
                    _ if self.lax() => Ok("1".into()),
                    _ => {
                        let message = "jsonpath item method .size() can only be applied to an array";
                        Err(fault(SqlState::JsonArrayNotFound, message))
                    }
                };
            }
            Method::Double => return double(value),
            Method::Ceiling => "ceiling",
            Method::Floor => "floor",
            Method::Abs => "abs",
        };
        if kind != Kind::Number {
            let message = format!("jsonpath item method .{name}() can only be applied to a numeric value");
            return Err(fault(SqlState::NonNumericJson, message));
        }
        let number = Numeric::parse(value)?;
        Ok(match method {
            Method::Ceiling => number.ceil()?,
            Method::Floor => number.floor()?,
            _ => number.abs(),
        }
        .to_string())
    }

    /// Whether a predicate holds; `None` is unknown.
    fn holds(&self, predicate: &Predicate, place: Place<'_>) -> Result<Option<bool>> {
        Ok(match predicate {
            Predicate::And(left, right) => match self.holds(left, place)? {
                Some(false) => Some(false),
                left => match (left, self.holds(right, place)?) {
                    (_, Some(false)) => Some(false),
                    (Some(true), right) => right,
                    _ => None,
                },
            },
            Predicate::Or(left, right) => match self.holds(left, place)? {
                Some(true) => Some(true),
                left => match (left, self.holds(right, place)?) {
                    (_, Some(true)) => Some(true),
                    (Some(false), right) => right,
                    _ => None,
                },
            },
            Predicate::Not(inner) => self.holds(inner, place)?.map(|holds| !holds),
            Predicate::IsUnknown(inner) => Some(self.holds(inner, place)?.is_none()),
            Predicate::Exists(expr) => self.values(expr, place).ok().map(|values| !values.is_empty()),
            Predicate::Compare(op, left, right) => {
                let (Ok(left), Ok(right)) = (self.unwrapped(left, place), self.unwrapped(right, place)) else {
                    return Ok(None);
                };
                self.any_pair(&left, &right, |left, right| compared(op, left, right))
            }
            Predicate::LikeRegex(text, regex) => {
                let Ok(texts) = self.unwrapped(text, place) else { return Ok(None) };
                self.any_pair(&texts, &[Cow::Borrowed("null")], |text, _| match Kind::of(text) {
                    Kind::String => regex.is_match(&json::string_of(text).ok()?).ok(),
                    _ => None,
                })
            }
            Predicate::StartsWith(whole, start) => {
                let (Ok(wholes), Ok(starts)) = (self.unwrapped(whole, place), self.values(start, place)) else {
                    return Ok(None);
                };
                self.any_pair(&wholes, &starts, |whole, start| match (Kind::of(whole), Kind::of(start)) {
                    (Kind::String, Kind::String) => {
                        let (whole, start) = (json::string_of(whole).ok()?, json::string_of(start).ok()?);
                        Some(whole.starts_with(start.as_ref()))
                    }
                    _ => None,
                })
            }
        })
    }

    /// Whether one pair of values stands the test; a strict path tries all, and knows nothing if one cannot be
    /// tested.
    fn any_pair(
        &self,
        left: &[Value<'_>],
        right: &[Value<'_>],
        test: impl Fn(&str, &str) -> Option<bool>,
    ) -> Option<bool> {
        let (mut found, mut unknown) = (false, false);
        for one in left {
            for other in right {
                match test(one, other) {
                    Some(true) if self.lax() => return Some(true),
                    Some(true) => found = true,
                    Some(false) => {}
                    None if !self.lax() => return None,
                    None => unknown = true,
                }
            }
        }
        match (found, unknown) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        }
    }
}

/// The values from one level below a value to another.
fn below(value: &str, level: u32, (from, to): (Option<u32>, Option<u32>), found: &mut Vec<Value<'_>>) {
    let is_wanted = match from {
        Some(from) => level >= from,
        // The deepest: what has no parts.
        None => !Kind::of(value).is_container(),
    };
    if is_wanted {
        found.push(Cow::Owned(value.to_string()));
    }
    if to.is_none_or(|to| level < to) {
        for (_, part) in json::members(value) {
            below(part, level + 1, (from, to), found);
        }
    }
}

/// The verdict of a comparison; `None`: these are not compared.
fn compared(op: &str, left: &str, right: &str) -> Option<bool> {
    let order = match (Kind::of(left), Kind::of(right)) {
        (Kind::Null, Kind::Null) => Ordering::Equal,
        (Kind::Null, _) | (_, Kind::Null) => return Some(op == "!="),
        (Kind::Bool, Kind::Bool) => (left == "true").cmp(&(right == "true")),
        (Kind::Number, Kind::Number) => Numeric::parse(left).ok()?.cmp(&Numeric::parse(right).ok()?),
        (Kind::String, Kind::String) => json::string_of(left).ok()?.cmp(&json::string_of(right).ok()?),
        _ => return None,
    };
    Some(match op {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

/// `.double()`.
fn double(value: &str) -> Result<String> {
    let text = match Kind::of(value) {
        Kind::Number => Cow::Borrowed(value),
        Kind::String => json::string_of(value)?,
        _ => {
            let message = "jsonpath item method .double() can only be applied to a string or numeric value";
            return Err(fault(SqlState::NonNumericJson, message));
        }
    };
    let what = if Kind::of(value) == Kind::Number { "numeric" } else { "string" };
    let wrong = || {
        let message = format!(
            "{what} argument of jsonpath item method .double() is not a valid representation of a double precision number"
        );
        fault(SqlState::NonNumericJson, message)
    };
    let number = parse_text(&PgType::Float8, &text, &Zone::Utc).map_err(|_| wrong())?;
    let mut out = String::new();
    write_text(&PgType::Float8, number.to_array()?.as_ref(), 0, &TextStyle::default(), &mut out)?;
    json::normalize(&out).map_err(|_| wrong())
}
