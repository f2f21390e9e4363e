//! to_char, to_date, to_timestamp and to_number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::{
    Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use thalweg_dataflow::types::datetime::Interval;
use thalweg_dataflow::types::formatting::{Digits, Moment, NumberTemplate, Template, read_date, read_timestamptz};
use thalweg_dataflow::types::{Numeric, PgType};
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::{Numerics, build_numerics, overloads};
use super::text::{build, strings};
use super::udf::Input;

const TEXT: PgType = PgType::Text;

/// What templates mean, the last one kept: most calls have one for all rows.
struct Templates<T> {
    texts: StringArray,
    last: std::cell::RefCell<Option<(String, Arc<T>)>>,
}

impl<T> Templates<T> {
    fn new(input: &Input<'_>) -> Result<Templates<T>> {
        Ok(Templates { texts: strings(input, 1)?, last: std::cell::RefCell::new(None) })
    }

    fn get(&self, row: usize, parse: impl FnOnce(&str) -> Result<T>) -> Result<Arc<T>> {
        let text = self.texts.value(row);
        let mut last = self.last.borrow_mut();
        if let Some((known, template)) = &*last
            && known == text
        {
            return Ok(template.clone());
        }
        let template = Arc::new(parse(text)?);
        *last = Some((text.to_string(), template.clone()));
        Ok(template)
    }

    /// Whether there is no template at a row, or an empty one.
    fn is_empty(&self, row: usize) -> bool {
        self.texts.is_null(row) || self.texts.value(row).is_empty()
    }
}

fn moment_to_char(input: &Input<'_>) -> Result<ArrayRef> {
    let templates = Templates::<Template>::new(input)?;
    let values = input.array(0)?;
    let zone = (input.types[0] == PgType::Timestamptz).then_some(input.zone);
    let moment = |row: usize| match &input.types[0] {
        PgType::Interval => {
            let span = values.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Some(Moment::of_interval(Interval::from_arrow(span)))
        }
        _ => Moment::of_timestamp(values.as_primitive::<TimestampMicrosecondType>().value(row), zone),
    };
    let moments: Vec<Option<Moment>> = (0..input.rows)
        .map(|row| (!templates.is_empty(row) && values.is_valid(row)).then(|| moment(row)).flatten())
        .collect();
    build(
        input.rows,
        |row| moments[row].is_none(),
        |row, out| {
            let template = templates.get(row, |text| Ok(Template::parse(text)))?;
            moments[row].as_ref().map_or(Ok(()), |moment| moment.write(&template, out))
        },
    )
}

fn number_to_char(input: &Input<'_>) -> Result<ArrayRef> {
    let templates = Templates::<NumberTemplate>::new(input)?;
    let values = input.array(0)?;
    let numerics = if matches!(input.types[0], PgType::Numeric(_)) { Some(Numerics::new(input, 0)?) } else { None };
    build(
        input.rows,
        |row| templates.texts.is_null(row) || values.is_null(row),
        |row, out| {
            if templates.is_empty(row) {
                return Ok(());
            }
            let template = &*templates.get(row, NumberTemplate::parse)?;
            match (&input.types[0], &numerics) {
                (PgType::Int4, _) => {
                    let value = values.as_primitive::<Int32Type>().value(row);
                    match template.is_scientific() {
                        true => float(template, f64::from(value), 15, out),
                        false => integer(template, i64::from(value), out),
                    }
                }
                (PgType::Int8, _)
                    if template.is_roman() && i32::try_from(values.as_primitive::<Int64Type>().value(row)).is_err() =>
                {
                    Err(super::arithmetic::out_of_range(&PgType::Int4))
                }
                (PgType::Int8, _) => integer(template, values.as_primitive::<Int64Type>().value(row), out),
                (PgType::Float4, _) => {
                    float(template, f64::from(values.as_primitive::<Float32Type>().value(row)), 6, out)
                }
                (_, Some(numerics)) => match numerics.get(row)? {
                    Some(number) => numeric(template, &number, out),
                    None => Ok(()),
                },
                _ => float(template, values.as_primitive::<Float64Type>().value(row), 15, out),
            }
        },
    )
}

fn integer(template: &NumberTemplate, value: i64, out: &mut String) -> Result<()> {
    if template.is_roman() {
        template.write_roman(value, out);
        return Ok(());
    }
    if template.is_scientific() {
        return numeric(template, &Numeric::from(value), out);
    }
    let mut text = value.unsigned_abs().to_string();
    if value != 0 {
        text.extend(std::iter::repeat_n('0', template.shift()));
    }
    let behind = template.scale();
    if behind > 0 {
        text.push('.');
        text.extend(std::iter::repeat_n('0', behind));
    }
    template.write(&Digits { text, negative: value < 0, behind }, out);
    Ok(())
}

/// `1.50e+03` from its sign, its digits and its exponent; a blank stands for plus.
fn push_scientific(negative: bool, mantissa: &str, exponent: i64, out: &mut String) {
    out.push(if negative { '-' } else { ' ' });
    out.push_str(mantissa);
    out.push_str(if exponent < 0 { "e-" } else { "e+" });
    out.push_str(&format!("{:02}", exponent.unsigned_abs()));
}

fn numeric(template: &NumberTemplate, number: &Numeric, out: &mut String) -> Result<()> {
    let behind = template.scale();
    if template.is_roman() {
        template.write_roman(number.to_i64("integer")?, out);
        return Ok(());
    }
    if template.is_scientific() {
        if !number.is_finite() {
            out.push_str(&template.no_exponent());
            return Ok(());
        }
        return scientific(number, behind, out);
    }
    let shifted = match template.shift() {
        0 => number.clone(),
        places => number.mul(&Numeric::from(10).power(i32::try_from(places).unwrap_or(i32::MAX))?)?,
    };
    let rounded = shifted.round(i32::try_from(behind).unwrap_or(i32::MAX))?;
    let mut text = String::new();
    rounded.write_to(&mut text);
    let negative = text.starts_with('-');
    let text = text.trim_start_matches('-').to_string();
    if number.is_nan() && template.is_ordinal() {
        return Err(Error::new(SqlState::InvalidTextRepresentation, format!("\"{number}\" is not a number")));
    }
    template.write(&Digits { text, negative, behind }, out);
    Ok(())
}

fn scientific(number: &Numeric, behind: usize, out: &mut String) -> Result<()> {
    let text = number.abs().to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let whole = text.find('.').unwrap_or(text.len()) as i64;
    let leading = digits.find(|c| c != '0');
    let exponent = leading.map_or(0, |zeros| whole - 1 - zeros as i64);
    // The digits with the point behind the first of them, rounded.
    let first = leading.unwrap_or(0);
    let mantissa = format!("{}.{}", &digits[first..=first], &digits[first + 1..]);
    let rounded = Numeric::parse(mantissa.trim_end_matches('.'))?.round(i32::try_from(behind).unwrap_or(i32::MAX))?;
    push_scientific(number.signum() < 0, &rounded.to_string(), exponent, out);
    Ok(())
}

fn float(template: &NumberTemplate, value: f64, digits: usize, out: &mut String) -> Result<()> {
    let behind = template.scale();
    if template.is_roman() {
        template.write_roman(value.round_ties_even() as i64, out);
        return Ok(());
    }
    if template.is_scientific() {
        if !value.is_finite() {
            out.push_str(&template.no_exponent());
            return Ok(());
        }
        let text = format!("{:.behind$e}", value.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        push_scientific(value.is_sign_negative(), mantissa, exponent.parse().unwrap_or(0), out);
        return Ok(());
    }
    let value = value * 10f64.powi(i32::try_from(template.shift()).unwrap_or(i32::MAX));
    let whole = if value.is_finite() { format!("{:.0}", value.abs()).len() } else { 8 };
    // No more digits than the type has.
    let behind = if whole >= digits { 0 } else { behind.min(digits - whole) };
    let text = match value {
        value if value.is_nan() => "nan".to_string(),
        value if value.is_infinite() => "inf".to_string(),
        value => format!("{:.behind$}", value.abs()),
    };
    template.write(&Digits { text, negative: value.is_sign_negative() && !value.is_nan(), behind }, out);
    Ok(())
}

fn to_number(input: &Input<'_>) -> Result<ArrayRef> {
    let templates = Templates::<NumberTemplate>::new(input)?;
    let texts = strings(input, 0)?;
    build_numerics(input.rows, |row| {
        if texts.is_null(row) || templates.is_empty(row) {
            return Ok(None);
        }
        templates.get(row, NumberTemplate::parse)?.read(texts.value(row)).map(Some)
    })
}

fn to_date(input: &Input<'_>) -> Result<ArrayRef> {
    let templates = Templates::<Template>::new(input)?;
    let texts = strings(input, 0)?;
    let each = |row: usize| {
        if texts.is_null(row) || templates.texts.is_null(row) {
            return Ok(None);
        }
        let template = templates.get(row, |text| Ok(Template::parse(text)))?;
        read_date(texts.value(row), &template).map(Some)
    };
    Ok(Arc::new((0..input.rows).map(each).collect::<Result<PrimitiveArray<Date32Type>>>()?))
}

fn to_timestamp(input: &Input<'_>) -> Result<ArrayRef> {
    let templates = Templates::<Template>::new(input)?;
    let texts = strings(input, 0)?;
    let each = |row: usize| {
        if texts.is_null(row) || templates.texts.is_null(row) {
            return Ok(None);
        }
        let template = templates.get(row, |text| Ok(Template::parse(text)))?;
        read_timestamptz(texts.value(row), &template, input.zone).map(Some)
    };
    let result = (0..input.rows).map(each).collect::<Result<PrimitiveArray<TimestampMicrosecondType>>>()?;
    Ok(Arc::new(result.with_data_type(input.result.arrow())))
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "to_char" (PgType::Timestamp, TEXT) -> TEXT => moment_to_char;
    "to_char" (PgType::Timestamptz, TEXT) -> TEXT => moment_to_char;
    "to_char" (PgType::Interval, TEXT) -> TEXT => moment_to_char;
    "to_char" (PgType::Int4, TEXT) -> TEXT => number_to_char;
    "to_char" (PgType::Int8, TEXT) -> TEXT => number_to_char;
    "to_char" (PgType::Numeric(None), TEXT) -> TEXT => number_to_char;
    "to_char" (PgType::Float4, TEXT) -> TEXT => number_to_char;
    "to_char" (PgType::Float8, TEXT) -> TEXT => number_to_char;
    "to_number" (TEXT, TEXT) -> PgType::Numeric(None) => to_number;
    "to_date" (TEXT, TEXT) -> PgType::Date => to_date;
    "to_timestamp" (TEXT, TEXT) -> PgType::Timestamptz => to_timestamp;
};
