//! Tests against PostgreSQL 15's own answers, kept in `testdata/*.tsv`.
//!
//! A line whose answer differs on purpose stands in `testdata/deviations.tsv` with ours; docs/model.md
//! says why. A deviation that no longer occurs fails the test too.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef};
use datafusion::scalar::ScalarValue;

use super::datetime::{self, Interval, Zone};
use super::*;
use crate::error::{Error, Result};

type Row = Vec<String>;

fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').map(str::to_string).collect()).collect()
}

fn fault(error: &Error) -> String {
    format!("!{} {}", error.state().code(), error.message())
}

/// Compares our answer with the last column of every row.
fn check(file: &str, text: &str, ours: impl Fn(&[String]) -> Result<String>) {
    let all = rows(include_str!("testdata/deviations.tsv"));
    let known: BTreeSet<Row> = all.into_iter().filter(|row| row[0] == file).map(|row| row[1..].to_vec()).collect();
    let (mut met, mut wrong, mut count) = (BTreeSet::new(), Vec::new(), 0);
    for row in rows(text) {
        let (expected, input) = row.split_last().expect("a line has columns");
        let got = ours(input).unwrap_or_else(|error| fault(&error));
        count += 1;
        if got == *expected {
            continue;
        }
        let mut deviation = input.to_vec();
        deviation.push(got.clone());
        if known.contains(&deviation) {
            met.insert(deviation);
        } else {
            wrong.push(format!("{}\t{}\t(PostgreSQL: {expected})", input.join("\t"), got));
        }
    }
    let stale: Vec<&Row> = known.difference(&met).collect();
    assert!(
        wrong.is_empty() && stale.is_empty(),
        "{} of {count} wrong\n{}\nstale {stale:?}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn data_type(name: &str) -> PgType {
    PgType::parse(name).expect("a type of ours")
}

fn array(scalar: &ScalarValue) -> ArrayRef {
    scalar.to_array().expect("a scalar makes an array")
}

fn print(data_type: &PgType, array: &ArrayRef, zone: &Zone) -> Result<String> {
    if array.is_null(0) {
        return Ok(String::new());
    }
    let style = TextStyle { zone: zone.clone(), ..TextStyle::default() };
    let mut out = String::new();
    write_text(data_type, array.as_ref(), 0, &style, &mut out)?;
    Ok(out)
}

fn berlin() -> Zone {
    Zone::parse("Europe/Berlin").expect("a zone")
}

#[test]
fn reads_and_prints_text() {
    check("text", include_str!("testdata/text.tsv"), |row| {
        let data_type = data_type(&row[0]);
        let scalar = parse_text(&data_type, &row[1], &Zone::Utc);
        let mut builder = ColumnBuilder::new(&data_type, 1);
        let built = builder.append_text(row[1].as_bytes());
        assert_eq!(built.is_ok(), validate_text(&data_type, row[1].as_bytes()).is_ok(), "{row:?}");
        match (&scalar, built) {
            (Ok(scalar), Ok(())) => assert_eq!(array(scalar).as_ref(), builder.finish().as_ref(), "{row:?}"),
            (Err(error), Err(fault)) => {
                assert_eq!(error.message(), fault.message());
                assert_eq!(builder.len(), 0);
            }
            (scalar, built) => panic!("{row:?}: {scalar:?} but built {built:?}"),
        }
        print(&data_type, &array(&scalar?), &Zone::Utc)
    });
}

#[test]
fn computes_numeric() {
    check("numeric", include_str!("testdata/numeric.tsv"), |row| {
        let left = Numeric::parse(&row[1])?;
        let places = || row[2].parse().expect("a number of digits");
        let right = || Numeric::parse(&row[2]);
        let result = match row[0].as_str() {
            "add" => left.add(&right()?),
            "sub" => left.sub(&right()?),
            "mul" => left.mul(&right()?),
            "div" => left.div(&right()?),
            "rem" => left.rem(&right()?),
            "divtrunc" => left.div_trunc(&right()?),
            "cmp" => return Ok((left.cmp(&right()?) as i32).to_string()),
            "round" => left.round(places()),
            "trunc" => left.trunc(places()),
            "floor" => left.floor(),
            "ceil" => left.ceil(),
            "abs" => Ok(left.abs()),
            "neg" => Ok(left.neg()),
            "trim" => Ok(left.canonical()),
            "power" => left.power(places()),
            "int8" => return left.to_i64("bigint").map(|value| value.to_string()),
            "float8" => {
                let mut out = String::new();
                write_f64(left.to_f64(), 1, &mut out);
                return Ok(out);
            }
            other => panic!("unknown operation {other}"),
        };
        result.map(|number| number.to_string())
    });
}

#[test]
fn averages_numeric() {
    check("average", include_str!("testdata/average.tsv"), |row| {
        let numbers: Vec<Numeric> = row[0].split(',').map(Numeric::parse).collect::<Result<_>>()?;
        let sum = numbers.iter().try_fold(Numeric::ZERO, |sum, number| sum.add(number))?;
        Ok(sum.div(&Numeric::from(numbers.len() as i64))?.to_string())
    });
}

#[test]
fn casts() {
    check("cast", include_str!("testdata/cast.tsv"), |row| {
        let (from, to) = (data_type(&row[0]), data_type(&row[1]));
        let style = TextStyle { zone: berlin(), ..TextStyle::default() };
        let source = array(&parse_text(&from, &row[2], &style.zone)?);
        print(&to, &cast(&source, &from, &to, &style)?, &style.zone)
    });
}

#[test]
fn knows_where_casts_apply() {
    for row in rows(include_str!("testdata/pg_cast.tsv")) {
        let context = match castable(&data_type(&row[0]), &data_type(&row[1])) {
            Some(CastContext::Implicit) => "i",
            Some(CastContext::Assignment) => "a",
            Some(CastContext::Explicit) => "e",
            None => "none",
        };
        assert_eq!(context, row[2], "{row:?}");
    }
}

fn time_function(row: &[String]) -> Result<String> {
    let (function, data_type, argument) = (row[0].as_str(), data_type(&row[1]), row[2].as_str());
    let zone = berlin();
    let scalar = parse_text(&data_type, &row[3], &zone)?;
    let number = |number: Result<Option<Numeric>>| Ok(number?.map_or(String::new(), |number| number.to_string()));
    let print_interval = |interval: Interval| {
        let mut out = String::new();
        interval.write_to(&mut out);
        out
    };
    let micros = match (&scalar, function) {
        (ScalarValue::TimestampMicrosecond(Some(micros), _), _) => *micros,
        (ScalarValue::Date32(Some(days)), _) => return number(datetime::extract_date(argument, *days)),
        (ScalarValue::IntervalMonthDayNano(Some(value)), _) => {
            let interval = Interval::from_arrow(*value);
            return match function {
                "trunc" => datetime::date_trunc_interval(argument, interval).map(print_interval),
                "times" => interval.mul(argument.parse().expect("a factor")).map(print_interval),
                _ => number(datetime::extract_interval(argument, interval)),
            };
        }
        _ => panic!("unexpected {scalar:?}"),
    };
    let with_zone = data_type == PgType::Timestamptz;
    let result = match function {
        "trunc" => datetime::date_trunc(argument, micros, with_zone.then_some(&zone))?,
        "extract" if with_zone => return number(datetime::extract_timestamptz(argument, micros, &zone)),
        "extract" => return number(datetime::extract_timestamp(argument, micros)),
        "plus" if with_zone => datetime::add_to_timestamptz(micros, Interval::parse(argument)?, &zone)?,
        "plus" => datetime::add_to_timestamp(micros, Interval::parse(argument)?)?,
        _ => {
            let other = parse_text(&data_type, argument, &zone)?;
            let ScalarValue::TimestampMicrosecond(Some(other), _) = other else { panic!("unexpected {other:?}") };
            return datetime::subtract_timestamps(micros, other).map(print_interval);
        }
    };
    let mut out = String::new();
    match with_zone {
        true => datetime::write_timestamptz(result, &zone, &mut out),
        false => datetime::write_timestamp(result, &mut out),
    }
    Ok(out)
}

#[test]
fn computes_dates_and_times() {
    check("datetime", include_str!("testdata/datetime.tsv"), time_function);
}

#[test]
fn knows_zones() {
    check("zone", include_str!("testdata/zone.tsv"), |row| {
        let zone = match Zone::parse(&row[0]) {
            Ok(zone) => zone,
            Err(error) => {
                assert_eq!(row[1], fault(&error));
                return Ok(String::new());
            }
        };
        assert_eq!(zone.name(), row[1]);
        let mut out = String::new();
        datetime::write_timestamptz(1_561_982_400_000_000, &zone, &mut out);
        Ok(out)
    });
}

#[test]
fn sends_and_receives_binary() {
    check("binary", include_str!("testdata/binary.tsv"), |row| {
        let data_type = data_type(&row[0]);
        let scalar = parse_text(&data_type, &row[1], &Zone::Utc)?;
        let mut bytes = Vec::new();
        write_binary(&data_type, array(&scalar).as_ref(), 0, &mut bytes)?;
        let back = read_binary(&data_type, &bytes)?;
        assert_eq!(format!("{back:?}"), format!("{scalar:?}"), "{row:?}");
        for cut in 0..bytes.len() {
            let shorter = read_binary(&data_type, &bytes[..cut]);
            assert!(shorter.is_err() || data_type.size() == -1, "{row:?} cut to {cut}");
        }
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("\\x{hex}"))
    });
}
