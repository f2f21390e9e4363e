//! Arrays in expressions: which types their functions and operators have.
//!
//! PostgreSQL's rule for all of them is one: the element and every value beside it have a common
//! type. What computes them stands in [`functions::arrays`].

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Case, Expr};
use datafusion::sql::sqlparser::ast::{self, AccessExpr, BinaryOperator, Subscript};
use thalweg_dataflow::types::{PgType, Zone};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, Env};
use super::expr::Cast;
use super::functions::udf::{Kernel, PgFunction};
use super::functions::{self, array_shape, arrays};
use super::typed::{Typed, common, literal, null};

/// What an argument is to the array's element.
#[derive(Clone, Copy, PartialEq)]
enum Param {
    /// An array of it.
    Array,
    /// A value of it.
    Element,
    /// An integer.
    Integer,
    /// A text.
    Text,
}

/// What a call gives.
enum Gives {
    Array,
    Integer,
    Integers,
    Text,
}

/// The parameters, the result and the kernel of a function over arrays.
fn signature(name: &str, count: usize) -> Option<(&'static [Param], Gives, Kernel)> {
    use Param::{Array, Element, Integer, Text};
    Some(match (name, count) {
        ("cardinality" | "array_ndims", 1) => (&[Array], Gives::Integer, array_shape::COUNTED),
        ("array_length" | "array_upper" | "array_lower", 2) => {
            (&[Array, Integer], Gives::Integer, array_shape::COUNTED)
        }
        ("array_dims", 1) => (&[Array], Gives::Text, array_shape::DIMENSIONS),
        ("trim_array", 2) => (&[Array, Integer], Gives::Array, array_shape::TRIM),
        ("array_append", 2) => (&[Array, Element], Gives::Array, array_shape::APPEND),
        ("array_prepend", 2) => (&[Element, Array], Gives::Array, array_shape::PREPEND),
        ("array_cat", 2) => (&[Array, Array], Gives::Array, array_shape::CONCAT),
        ("array_position", 2) => (&[Array, Element], Gives::Integer, arrays::POSITION),
        ("array_position", 3) => (&[Array, Element, Integer], Gives::Integer, arrays::POSITION),
        ("array_positions", 2) => (&[Array, Element], Gives::Integers, arrays::POSITIONS),
        ("array_remove", 2) => (&[Array, Element], Gives::Array, arrays::REPLACE),
        ("array_replace", 3) => (&[Array, Element, Element], Gives::Array, arrays::REPLACE),
        ("array_to_string", 2) => (&[Array, Text], Gives::Text, arrays::TO_TEXT),
        ("array_to_string", 3) => (&[Array, Text, Text], Gives::Text, arrays::TO_TEXT),
        _ => return None,
    })
}

impl Binder<'_> {
    /// A call of a function over arrays; `None`: it is no such function.
    pub(super) fn array_function(&self, name: &str, args: &[Typed]) -> Result<Option<Typed>> {
        if let ("string_to_array", 2 | 3) = (name, args.len()) {
            let args = args.iter().map(|arg| self.coerce(arg.clone(), &PgType::Text, Cast::Implicit));
            let args = args.collect::<Result<Vec<_>>>()?;
            return self.array_call(name, args, PgType::Array(&PgType::Text), arrays::OF_TEXT).map(Some);
        }
        if let ("array_fill", 2 | 3) = (name, args.len()) {
            return self.array_fill(args).map(Some);
        }
        let Some((params, gives, kernel)) = signature(name, args.len()) else { return Ok(None) };
        let args = &args.iter().map(|arg| Ok(self.vector(arg.clone())?.0)).collect::<Result<Vec<_>>>()?[..];
        let beside = || {
            // A null among arrays is one of the values beside it.
            let unknown = |(arg, param): (&Typed, &Param)| *param != Param::Array || arg.ty.is_none();
            let element = args.iter().zip(params).find(|(_, param)| **param == Param::Element);
            let element = element.and_then(|(arg, _)| arg.ty.as_ref()).map(PgType::base);
            element.filter(|_| args.iter().zip(params).all(unknown))
        };
        let Some(element) = element_of(params, args)?.or_else(beside) else {
            return Err(match args.iter().any(|arg| arg.ty.is_some()) {
                true => functions::no_function(name, args),
                false => Error::new(
                    SqlState::DatatypeMismatch,
                    "could not determine polymorphic type because input has type unknown",
                ),
            });
        };
        let mut coerced = Vec::with_capacity(args.len());
        for (arg, param) in args.iter().zip(params) {
            let ty = match param {
                Param::Array => element.array(),
                Param::Element => element.clone(),
                Param::Integer => PgType::Int4,
                Param::Text => PgType::Text,
            };
            let wrong = |_| functions::no_function(name, args);
            coerced.push(self.coerce(arg.clone(), &ty, Cast::Implicit).map_err(|error| match error.state() {
                SqlState::CannotCoerce => wrong(error),
                _ => error,
            })?);
        }
        let result = match gives {
            Gives::Array => element.array(),
            Gives::Integer => PgType::Int4,
            Gives::Integers => PgType::Array(&PgType::Int4),
            Gives::Text => PgType::Text,
        };
        self.array_call(name, coerced, result, kernel).map(Some)
    }

    /// `array_fill(value, lengths [, lower bounds])`.
    fn array_fill(&self, args: &[Typed]) -> Result<Typed> {
        let Some(element) = args[0].ty.as_ref().map(PgType::base) else {
            let message = "could not determine polymorphic type because input has type unknown";
            return Err(Error::new(SqlState::DatatypeMismatch, message));
        };
        let mut coerced = vec![self.coerce(args[0].clone(), &element, Cast::Implicit)?];
        for arg in &args[1..] {
            let arg = self.coerce(arg.clone(), &PgType::Array(&PgType::Int4), Cast::Implicit);
            coerced.push(arg.map_err(|_| functions::no_function("array_fill", args))?);
        }
        self.array_call("array_fill", coerced, element.array(), array_shape::FILL)
    }

    /// `width_bucket(value, lower bounds)`.
    pub(super) fn width_bucket(&self, args: Vec<Typed>) -> Result<Typed> {
        let Some(element) = element_of(&[Param::Element, Param::Array], &args)? else {
            return Err(functions::no_function("width_bucket", &args));
        };
        let mut args = args.into_iter();
        let (Some(value), Some(array)) = (args.next(), args.next()) else {
            return Err(Error::internal("width_bucket of one argument"));
        };
        let value = self.coerce(value, &element, Cast::Implicit)?;
        let array = self.coerce(array, &element.array(), Cast::Implicit)?;
        self.array_call("width_bucket", vec![value, array], PgType::Int4, arrays::BUCKET)
    }

    /// An operator over arrays; `None`: it is none.
    pub(super) fn array_operator(&self, op: &BinaryOperator, left: &Typed, right: &Typed) -> Result<Option<Typed>> {
        let is_array = |typed: &Typed| typed.ty.as_ref().is_some_and(|ty| ty.element().is_some());
        let (left, right) = (left.clone(), right.clone());
        let name = match op {
            BinaryOperator::AtArrow => "@>",
            BinaryOperator::ArrowAt => return self.array_operator(&BinaryOperator::AtArrow, &right, &left),
            BinaryOperator::PGOverlap => "&&",
            BinaryOperator::StringConcat if is_array(&left) || is_array(&right) => {
                let beside = |typed: &Typed| is_array(typed) || typed.ty.is_none();
                let name = match (beside(&left), beside(&right)) {
                    (true, true) => "array_cat",
                    (true, false) => "array_append",
                    _ => "array_prepend",
                };
                return self.array_function(name, &[left, right]);
            }
            _ => return Ok(None),
        };
        let args = [left, right];
        let Some(element) = element_of(&[Param::Array, Param::Array], &args)? else { return Ok(None) };
        let args = args.into_iter().map(|arg| self.coerce(arg, &element.array(), Cast::Implicit));
        let args = args.collect::<Result<Vec<_>>>()?;
        self.array_call(name, args, PgType::Bool, arrays::CONTAINS).map(Some)
    }

    /// `value op ANY (array)`, `value op ALL (array)`.
    pub(super) fn quantified_array(&self, op: &BinaryOperator, value: Typed, array: Typed, any: bool) -> Result<Typed> {
        let (array, _) = self.vector(array)?;
        let word = if any { "any" } else { "all" };
        let symbol = match op {
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "<>",
            BinaryOperator::Lt => "<",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::Gt => ">",
            BinaryOperator::GtEq => ">=",
            BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch
            | BinaryOperator::PGLikeMatch
            | BinaryOperator::PGNotLikeMatch
            | BinaryOperator::PGILikeMatch
            | BinaryOperator::PGNotILikeMatch => {
                let value = self.coerce(value, &PgType::Text, Cast::Implicit)?;
                let array = self.coerce(array, &PgType::Text.array(), Cast::Implicit)?;
                let (name, kernel) = (format!("{op} {word}"), functions::regexp::QUANTIFIED);
                return self.array_call(&name, vec![value, array], PgType::Bool, kernel);
            }
            other => return Err(Error::unsupported(format!("{other} with {} over an array", word.to_uppercase()))),
        };
        if array.ty.as_ref().is_some_and(|ty| ty.element().is_none()) {
            let error = Error::new(SqlState::WrongObjectType, "op ANY/ALL (array) requires array on right side");
            return Err(super::binder::at(error, array.at));
        }
        let args = [array, value];
        let element = match element_of(&[Param::Array, Param::Element], &args)? {
            Some(element) => element,
            None => args[1].ty.clone().unwrap_or(PgType::Text).base(),
        };
        let [array, value] = args;
        let array = self.coerce(array, &element.array(), Cast::Implicit)?;
        let value = self.coerce(value, &element, Cast::Implicit)?;
        self.array_call(&format!("{symbol} {word}"), vec![value, array], PgType::Bool, arrays::QUANTIFIED)
    }

    /// `ARRAY[...]`; `target`: the type it is cast to, which an empty one needs.
    pub(super) fn array(&self, env: &Env<'_>, array: &ast::Array, target: Option<&PgType>) -> Result<Typed> {
        let item = |item: &ast::Expr| match item {
            ast::Expr::Array(inner) => self.array(env, inner, target),
            other => self.expr(env, other),
        };
        let items = array.elem.iter().map(item).collect::<Result<Vec<_>>>()?;
        let wanted = target.and_then(PgType::element);
        if items.iter().any(|item| item.ty.as_ref().is_some_and(|ty| ty.element().is_some())) {
            return self.stacked(items, wanted);
        }
        let (items, element) = match (items.is_empty(), wanted) {
            (true, None) => {
                return Err(Error::new(SqlState::IndeterminateDatatype, "cannot determine type of empty array")
                    .hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
            }
            (_, Some(element)) => {
                let items = items.into_iter().map(|item| self.coerce(item, element, Cast::Explicit));
                (items.collect::<Result<Vec<_>>>()?, element.clone())
            }
            (false, None) => {
                let (items, ty) = self.unify(items, "ARRAY")?;
                let element = ty.base();
                let items = items.into_iter().map(|item| self.coerce(item, &element, Cast::Explicit));
                (items.collect::<Result<Vec<_>>>()?, element)
            }
        };
        self.array_call("array", items, element.array(), arrays::CONSTRUCT)
    }

    /// `ARRAY[...]` of arrays of this element.
    fn stacked(&self, items: Vec<Typed>, wanted: Option<&PgType>) -> Result<Typed> {
        let mut elements: Vec<&PgType> = Vec::with_capacity(items.len());
        let known = |item: &Typed| item.ty.as_ref().is_some_and(|ty| ty.element().is_none());
        if let (Some(array), Some(other)) =
            (items.iter().find(|item| !known(item) && item.ty.is_some()), items.iter().find(|item| known(item)))
        {
            let message = format!("ARRAY types {} and {} cannot be matched", array.type_name(), other.type_name());
            return Err(super::binder::at(Error::new(SqlState::DatatypeMismatch, message), other.at));
        }
        elements.extend(items.iter().filter_map(|item| item.ty.as_ref().and_then(PgType::element)));
        let element = match wanted {
            Some(element) => element.clone(),
            None => common(elements.iter().map(|ty| (Some(*ty), None)), "ARRAY")?.base(),
        };
        let items = items.into_iter().map(|item| self.coerce(item, &element.array(), Cast::Explicit));
        self.array_call("array", items.collect::<Result<_>>()?, element.array(), array_shape::STACK)
    }

    /// `array[n]`, `array[n][m]`, `array[from:to]`.
    pub(super) fn subscripted(&self, env: &Env<'_>, root: &ast::Expr, chain: &[AccessExpr]) -> Result<Typed> {
        if let Some((whole, rest)) = named_root(root, chain) {
            return self.subscripted(env, &whole, rest);
        }
        if let [AccessExpr::Dot(ast::Expr::Identifier(field))] = chain
            && let Some(field) = self.pair_field(env, root, field)?
        {
            return Ok(field);
        }
        if let [AccessExpr::Dot(ast::Expr::Identifier(field))] = chain
            && let ast::Expr::Nested(inner) = root
            && let ast::Expr::Identifier(table) = inner.as_ref()
        {
            return self.compound(env, &[table.clone(), field.clone()]);
        }
        let whole = self.expr(env, root)?;
        if let Some(part) = self.json_subscripts(env, &whole, chain)? {
            return Ok(part);
        }
        let subscript = |access: &'_ AccessExpr| match access {
            AccessExpr::Subscript(subscript) => Ok(subscript.clone()),
            AccessExpr::Dot(_) => Err(Error::unsupported("a field of a value")),
        };
        let subscripts = chain.iter().map(subscript).collect::<Result<Vec<_>>>()?;
        let (array, from_zero) = self.vector(whole)?;
        if let [Subscript::Index { index }] = subscripts.as_slice() {
            let place = self.coerce(self.expr(env, index)?, &PgType::Int4, Cast::Explicit)?;
            if let Some(byte) = self.name_byte(&array, &place)? {
                return Ok(byte);
            }
        }
        let Some(element) = array.ty.as_ref().and_then(PgType::element) else {
            let message =
                format!("cannot subscript type {} because it does not support subscripting", array.type_name());
            return Err(Error::new(SqlState::DatatypeMismatch, message));
        };
        self.part_of(env, array, element, (&subscripts, from_zero))
    }

    /// An element or a slice of an array.
    fn part_of(
        &self,
        env: &Env<'_>,
        array: Typed,
        element: &PgType,
        (subscripts, from_zero): (&[Subscript], bool),
    ) -> Result<Typed> {
        let integer = |expr: &ast::Expr| {
            let typed = self.expr(env, expr)?;
            self.coerce(typed, &PgType::Int4, Cast::Explicit)
        };
        let constant = |value: i32| Typed::constant(ScalarValue::Int32(Some(value)), PgType::Int4);
        let slice = subscripts.iter().any(|subscript| matches!(subscript, Subscript::Slice { .. }));
        let mut args = vec![array];
        for subscript in subscripts {
            match subscript {
                // Beside a slice it is one from 1 on.
                Subscript::Index { index } if slice => args.extend([constant(1), integer(index)?]),
                Subscript::Index { index } if from_zero => {
                    args.push(self.operate(&BinaryOperator::Plus, integer(index)?, constant(1))?);
                }
                Subscript::Index { index } => args.push(integer(index)?),
                Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                    let bound = |bound: &Option<ast::Expr>, otherwise: i32| match bound {
                        Some(bound) => integer(bound),
                        None => Ok(constant(otherwise)),
                    };
                    args.extend([bound(lower_bound, i32::MIN)?, bound(upper_bound, i32::MAX)?]);
                }
                Subscript::Slice { .. } => return Err(Error::unsupported("a slice with a stride")),
            }
        }
        match slice {
            true => self.array_call("slice", args, element.array(), array_shape::SLICE),
            false => self.array_call("subscript", args, element.clone(), array_shape::SUBSCRIPT),
        }
    }

    /// Two numbers as one value, which is null if one of them is.
    pub(super) fn whole_pair(&self, pair: Vec<Expr>) -> Result<Expr> {
        let ty = PgType::Float8.array();
        let present = pair.iter().cloned().map(Expr::is_not_null).reduce(Expr::and);
        let present = present.ok_or_else(|| Error::internal("a pair of nothing"))?;
        let pair = pair.into_iter().map(|value| Typed::new(value, PgType::Float8)).collect();
        let pair = self.array_call("array", pair, ty.clone(), arrays::CONSTRUCT)?.expr;
        let otherwise = Some(Box::new(literal(null(&ty), &ty)));
        Ok(Expr::Case(Case { expr: None, when_then_expr: vec![(present.into(), pair.into())], else_expr: otherwise }))
    }

    /// `array[place]`.
    pub(super) fn element(&self, array: Typed, place: Typed) -> Result<Typed> {
        let element = array.ty.as_ref().and_then(PgType::element).cloned().unwrap_or(PgType::Text);
        self.array_call("subscript", vec![array, place], element, array_shape::SUBSCRIPT)
    }

    pub(super) fn array_call(&self, name: &str, args: Vec<Typed>, result: PgType, kernel: Kernel) -> Result<Typed> {
        let types = args.iter().map(|arg| arg.ty.clone().unwrap_or(PgType::Text)).collect();
        let exprs: Vec<Expr> = args.into_iter().map(|arg| arg.expr).collect();
        let function = PgFunction::new(name, types, result.clone(), Zone::parse(&self.settings.zone)?, kernel);
        Ok(Typed::new(functions::evaluated(function, exprs), result))
    }
}

/// The element that arrays and values have in common; `None`: no type says what it is, or one that
/// should be an array is none.
fn element_of(params: &[Param], args: &[Typed]) -> Result<Option<PgType>> {
    let mut types = Vec::with_capacity(args.len());
    for (arg, param) in args.iter().zip(params) {
        match (param, &arg.ty) {
            (Param::Array, Some(ty)) => match ty.element() {
                Some(element) => types.push(element.clone()),
                None => return Ok(None),
            },
            (Param::Element, Some(ty)) => types.push(ty.base()),
            _ => {}
        }
    }
    let arrays = args.iter().zip(params).any(|(arg, param)| *param == Param::Array && arg.ty.is_some());
    if !arrays || types.is_empty() {
        return Ok(None);
    }
    common(types.iter().map(|ty| (Some(ty), None)), "array and element").map(|ty| Some(ty.base())).or(Ok(None))
}

/// `table.column[...]`, which the parser takes for a field of `table`: the column, and what is left.
fn named_root<'e>(root: &ast::Expr, chain: &'e [AccessExpr]) -> Option<(ast::Expr, &'e [AccessExpr])> {
    let mut parts = match root {
        ast::Expr::Identifier(part) => vec![part.clone()],
        ast::Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return None,
    };
    let fields = chain.iter().map_while(|access| match access {
        AccessExpr::Dot(ast::Expr::Identifier(field)) => Some(field.clone()),
        _ => None,
    });
    let before = parts.len();
    parts.extend(fields);
    let rest = &chain[parts.len() - before..];
    (parts.len() > before && !rest.is_empty()).then_some((ast::Expr::CompoundIdentifier(parts), rest))
}
