//! The decoder's rules one by one, against arrow-csv on valid data, and on noise.

use std::io::Cursor;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;

use super::*;
use crate::generator;

fn column(name: &str, data_type: PgType, not_null: bool) -> Column {
    Column { name: name.into(), data_type, not_null }
}

/// `id bigint not null, name text, price numeric(10,2)`
fn columns() -> Vec<Column> {
    vec![
        column("id", PgType::Int8, true),
        column("name", PgType::Text, false),
        column("price", PgType::Numeric(Some((10, 2))), false),
    ]
}

fn decoder() -> CsvDecoder {
    CsvDecoder::new(&columns(), &[0, 1, 2], CsvOptions::default()).unwrap()
}

/// The rows as `id|name|price` (null is `-`), the bad lines as `line:column:error`, the headers.
fn decode_with(decoder: &mut CsvDecoder, payload: &[u8]) -> (Vec<String>, Vec<String>, u64) {
    let rows = decoder.decode(payload, 7);
    let decoded = decoder.take().unwrap();
    assert_eq!(rows, decoded.rows.num_rows());
    let show = |row: usize| {
        let cell = |column: usize| {
            let array = decoded.rows.column(column);
            if array.is_null(row) {
                return "-".to_string();
            }
            arrow::util::display::array_value_to_string(array, row).unwrap()
        };
        (0..decoded.rows.num_columns()).map(cell).collect::<Vec<_>>().join("|")
    };
    let bad = decoded.bad.iter().map(|bad| {
        assert_eq!(bad.offset, 7);
        format!("{}:{}:{}", bad.line, bad.column.as_deref().unwrap_or("-"), bad.error)
    });
    ((0..decoded.rows.num_rows()).map(show).collect(), bad.collect(), decoded.headers)
}

fn decode(payload: &str) -> (Vec<String>, Vec<String>, u64) {
    decode_with(&mut decoder(), payload.as_bytes())
}

#[track_caller]
fn good(payload: &str, rows: &[&str]) {
    let (got, bad, headers) = decode(payload);
    assert_eq!(
        (got.iter().map(String::as_str).collect::<Vec<_>>(), bad.len(), headers),
        (rows.to_vec(), 0, 0),
        "{bad:?}"
    );
}

#[track_caller]
fn bad(payload: &str, faults: &[&str]) {
    let (got, bad, headers) = decode(payload);
    assert_eq!((got.len(), bad.iter().map(String::as_str).collect::<Vec<_>>(), headers), (0, faults.to_vec(), 0));
}

#[test]
fn lines_and_their_ends() {
    good("1,a,2.50", &["1|a|2.50"]);
    good("1,a,2.50\n", &["1|a|2.50"]);
    good("1,a,2.50\r\n", &["1|a|2.50"]);
    good("1,a,2.50\r", &["1|a|2.50"]);
    good("1,a,2.50\n2,b,3\r\n3,c,", &["1|a|2.50", "2|b|3.00", "3|c|-"]);
    good("1,a\rb,2\r\n", &["1|a\rb|2.00"]);
    bad("", &["1:name:missing data for column \"name\""]);
    bad("\n", &["1:name:missing data for column \"name\""]);
    bad("\n\r\n", &["1:name:missing data for column \"name\"", "2:name:missing data for column \"name\""]);
}

#[test]
fn nulls_and_empty_texts() {
    good("1,,", &["1|-|-"]);
    good("1,\"\",\r\n", &["1||-"]);
    good("1,nan,2", &["1|nan|2.00"]);
    good("1,NULL,2", &["1|NULL|2.00"]);
    bad(",a,2", &["1:id:null value in column \"id\" violates not-null constraint"]);
    bad("\"\",a,2", &["1:id:invalid input syntax for type bigint: \"\""]);
}

#[test]
fn quotes() {
    good("1,\"a,b\",2", &["1|a,b|2.00"]);
    good("1,\"say \"\"hi\"\"\",2\n", &["1|say \"hi\"|2.00"]);
    good("\"1\",\"a\nb\",\"2\"\r\n2,c,3", &["1|a\nb|2.00", "2|c|3.00"]);
    good("1,\"a\r\nb\",2\n", &["1|a\r\nb|2.00"]);
    good("1,5\" disk,2", &["1|5\" disk|2.00"]);
    good("1,a\"b\"c,2", &["1|a\"b\"c|2.00"]);
    good("1,\"\"\"\",2", &["1|\"|2.00"]);
    good("1,x,\"2\"", &["1|x|2.00"]);
    good("1,x,\"2\"\r", &["1|x|2.00"]);
    bad("1,\"a\"b,2", &["1:-:unexpected character after the closing quote of a CSV field"]);
    bad("1,\"a\"\rb,2", &["1:-:unexpected character after the closing quote of a CSV field"]);
    let (rows, faults, _) = decode("1,\"a,2\n2,b,3\n");
    assert_eq!(rows, ["2|b|3.00"], "a lost quote costs one line");
    assert_eq!(faults, ["1:-:unterminated CSV quoted field"]);
    let options = CsvOptions { dialect: Dialect { quote: None, ..Dialect::default() }, ..CsvOptions::default() };
    let mut plain = CsvDecoder::new(&columns(), &[0, 1, 2], options).unwrap();
    assert_eq!(decode_with(&mut plain, b"1,\"a\",2").0, ["1|\"a\"|2.00"]);
}

#[test]
fn field_counts_are_never_made_up() {
    bad("1,a", &["1:price:missing data for column \"price\""]);
    bad("1", &["1:name:missing data for column \"name\""]);
    bad("1,a,2,", &["1:-:extra data after last expected column"]);
    bad("1,a,2,3,4", &["1:-:extra data after last expected column"]);
}

#[test]
fn values_that_are_none() {
    bad("x,a,2", &["1:id:invalid input syntax for type bigint: \"x\""]);
    bad("1,a,2x", &["1:price:invalid input syntax for type numeric: \"2x\""]);
    good("9007199254740993,a,1", &["9007199254740993|a|1.00"]);
    for payload in [&b"1,\xff,2"[..], b"1,a\0b,2", b"1,\"\xc3\x28\",2"] {
        let (rows, faults, _) = decode_with(&mut decoder(), payload);
        assert!(
            rows.is_empty() && faults.len() == 1 && faults[0].starts_with("1:name:invalid byte sequence"),
            "{faults:?}"
        );
    }
}

#[test]
fn a_bad_line_leaves_nothing_behind() {
    let (rows, faults, _) = decode("1,a,1\n2,b,x\n3,c,3\nx,d,4\n5,e,5\n6,f\n7,g,7");
    assert_eq!(rows, ["1|a|1.00", "3|c|3.00", "5|e|5.00", "7|g|7.00"]);
    assert_eq!(faults.iter().map(|fault| &fault[..2]).collect::<Vec<_>>(), ["2:", "4:", "6:"]);
    let mut decoder = decoder();
    decoder.decode(b"1,a,1\r\n2,b,x\r\n", 9);
    assert_eq!((decoder.rows(), decoder.bad()), (1, 1));
    let bad = decoder.take().unwrap().bad;
    assert_eq!((bad[0].offset, bad[0].line, bad[0].raw.as_slice()), (9, 2, &b"2,b,x\r"[..]));
    assert_eq!((decoder.rows(), decoder.bad()), (0, 0));
    decoder.decode(&[b'x'; 100_000], 1);
    assert_eq!(decoder.take().unwrap().bad[0].raw.len(), 65_536);
}

#[test]
fn headers_are_skipped_wherever_they_stand() {
    for header in [
        "id,name,price",
        "ID,Name,PRICE\r",
        "\u{feff}id,name,price",
        "\"id\",\"name\",\"price\"",
        "\u{feff}\"id\",\"name\",price",
    ] {
        let (rows, faults, headers) = decode(&format!("1,a,1\n{header}\n2,b,2\n"));
        assert_eq!((rows, faults.len(), headers), (vec!["1|a|1.00".to_string(), "2|b|2.00".into()], 0, 1), "{header}");
    }
    assert_eq!(decode("id,name,prize").2, 0);
    assert_eq!(decode("id,name").1.len(), 1);
    let keep = CsvOptions { headers: Headers::Keep, ..CsvOptions::default() };
    let mut texts = CsvDecoder::new(&[column("a", PgType::Text, false)], &[0], keep).unwrap();
    assert_eq!(decode_with(&mut texts, b"a\nb").0, ["a", "b"]);
}

#[test]
fn columns_that_are_not_built_are_validated_for_sources_only() {
    let payload = b"1,a,x\n2,b,2\n,c,3\n";
    let mut source = CsvDecoder::new(&columns(), &[1], CsvOptions::default()).unwrap();
    assert_eq!(decode_with(&mut source, payload).0, ["b"]);
    let ignore = CsvOptions { unbuilt: Unbuilt::Ignore, ..CsvOptions::default() };
    let mut file = CsvDecoder::new(&columns(), &[1], ignore).unwrap();
    assert_eq!(decode_with(&mut file, payload).0, ["a", "b", "c"]);
    let mut turned = CsvDecoder::new(&columns(), &[2, 0], ignore).unwrap();
    assert_eq!(decode_with(&mut turned, b"1,a,2\n").0, ["2.00|1"]);
    let mut none = CsvDecoder::new(&columns(), &[], CsvOptions::default()).unwrap();
    assert_eq!(none.decode(b"1,a,2\nx,b,2\n3,c,4", 0), 2);
    assert_eq!(none.take().unwrap().rows.num_rows(), 2);
    assert!(CsvDecoder::new(&columns(), &[3], CsvOptions::default()).is_err());
}

#[test]
fn blocks_stop_at_whole_lines_and_at_the_limit() {
    let options = CsvOptions { blank: Blank::Skip, ..CsvOptions::default() };
    let text = b"1,a,1\n\n2,\"b\nb\",2\r\n\r\n3,\"c\"\"\",3";
    for cut in 0..=text.len() {
        let mut decoder = CsvDecoder::new(&columns(), &[0, 1, 2], options).unwrap();
        let (done, stop) = decoder.decode_block(&text[..cut], 0, false, 99);
        assert_eq!(stop, Stop::Block);
        assert!(done <= cut && [0, 6, 7, 18, 20].contains(&done), "cut {cut}: {done}");
        decoder.decode_block(&text[done..], done as u64, true, 99);
        let decoded = decoder.take().unwrap();
        assert_eq!((decoded.rows.num_rows(), decoded.bad.len()), (3, 0), "cut {cut}");
        assert_eq!(decoded.rows.column(1).as_string::<i32>().value(2), "c\"");
    }
    let mut decoder = CsvDecoder::new(&columns(), &[0], options).unwrap();
    assert_eq!(decoder.decode_block(text, 0, true, 1), (6, Stop::Rows));
    assert_eq!(decoder.decode_block(b"x,y,z\n", 1000, true, 9), (6, Stop::Block));
    assert_eq!(decoder.take().unwrap().bad[0].offset, 1000);
}

fn quoted(text: &str, random: &mut StdRng) -> String {
    let must = text.is_empty() || text.contains([',', '"', '\n', '\r']);
    if must || random.random_bool(0.2) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

#[test]
fn valid_data_reads_as_arrow_csv_reads_it() {
    let mut random = StdRng::seed_from_u64(4);
    for round in 0..300 {
        let mut text = String::new();
        let count = random.random_range(1..60);
        for _ in 0..count {
            let id: i64 = random.random();
            let length = random.random_range(0..20);
            let letters = ["a", "ü", ",", "\"", "\n", "7", " ", "😀", "x", "-"];
            let name: String = (0..length).map(|_| letters[random.random_range(0..letters.len())]).collect();
            let cents = random.random_range(0..1_000_000);
            let name = if name.is_empty() { String::new() } else { quoted(&name, &mut random) };
            text += &format!("{id},{name},{}.{:02}{}", cents / 100, cents % 100, ["\n", "\r\n"][round % 2]);
        }
        let schema = Generator3::schema();
        let reader = arrow::csv::ReaderBuilder::new(schema).build(Cursor::new(text.as_bytes())).unwrap();
        let oracle: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
        let mut decoder = decoder();
        assert_eq!(decoder.decode(text.as_bytes(), 0), count, "{text}");
        let decoded = decoder.take().unwrap();
        assert_eq!(decoded.bad, []);
        let oracle = arrow::compute::concat_batches(&oracle[0].schema(), &oracle).unwrap();
        for (ours, theirs) in decoded.rows.columns().iter().zip(oracle.columns()) {
            assert_eq!(ours, theirs);
        }
    }
}

/// The Arrow schema of [`columns`].
struct Generator3;

impl Generator3 {
    fn schema() -> arrow::datatypes::SchemaRef {
        let fields: Vec<_> = columns().iter().map(|column| column.data_type.field(&column.name, true)).collect();
        std::sync::Arc::new(arrow::datatypes::Schema::new(fields))
    }
}

#[test]
fn noise_never_panics_and_every_line_is_accounted_for() {
    let mut random = StdRng::seed_from_u64(5);
    let alphabet = b"\"\",,\n\r01a-.\xff\xc3\xa9\0 \"\n";
    let block_options =
        CsvOptions { dialect: Dialect { multiline: false, ..Dialect::default() }, ..CsvOptions::default() };
    let mut decoder = decoder();
    let mut blocks = CsvDecoder::new(&columns(), &[0, 1, 2], block_options).unwrap();
    for _ in 0..100_000 {
        let length = random.random_range(0..80);
        let noise: Vec<u8> = if random.random_bool(0.5) {
            (0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect()
        } else {
            (0..length).map(|_| random.random()).collect()
        };
        decoder.decode(&noise, 0);
        let decoded = decoder.take().unwrap();
        assert!(decoded.rows.num_rows() + decoded.bad.len() + decoded.headers as usize > 0);
        // Where line feeds end lines, it does not matter where the data is cut.
        blocks.decode(&noise, 0);
        let whole = blocks.take().unwrap();
        let cut = random.random_range(0..=noise.len());
        let (done, _) = blocks.decode_block(&noise[..cut], 0, false, usize::MAX);
        blocks.decode_block(&noise[done..], done as u64, true, usize::MAX);
        let parts = blocks.take().unwrap();
        if !noise.is_empty() {
            assert_eq!(parts.rows, whole.rows, "{:?} cut at {cut}", String::from_utf8_lossy(&noise));
            assert_eq!(parts.bad.len(), whole.bad.len(), "{:?} cut at {cut}", String::from_utf8_lossy(&noise));
        }
    }
}

#[test]
fn generated_lines_read_back_as_the_generated_columns() {
    let mut text = Vec::new();
    generator::write_csv(3, 20_000, generator::DEFAULT_START, &mut text, |_, _| {}).unwrap();
    let all: Vec<usize> = (0..9).collect();
    let mut decoder = CsvDecoder::new(&generator::declared_columns(), &all, CsvOptions::default()).unwrap();
    decoder.decode(&text, 0);
    let decoded = decoder.take().unwrap();
    let expected = generator::Generator::new(3, generator::DEFAULT_START).rows(0, 20_000, &all).unwrap();
    assert_eq!((decoded.headers, decoded.bad.len()), (1, 0));
    assert_eq!(decoded.rows.columns(), expected.columns());
    assert!(expected.column(7).as_primitive::<Int64Type>().value(0) > 0);
}

#[test]
fn formats_are_checked() {
    let of = |options: &[(&str, &str)]| {
        CsvOptions::of_options(&options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    };
    assert_eq!(of(&[("without_header", "true"), ("delimiter", ";")]).unwrap().dialect.delimiter, b';');
    assert_eq!(of(&[("delimiter", "ab")]).unwrap_err().state().code(), "22023");
    assert_eq!(of(&[("delimiter", "\"")]).unwrap_err().state().code(), "22023");
    assert_eq!(of(&[("delimeter", ";")]).unwrap_err().hint_text(), Some("Perhaps you meant the option \"delimiter\"."));
    let json = FormatDefinition { format: "PLAIN".into(), encode: "JSON".into(), options: BTreeMap::new() };
    assert_eq!(CsvOptions::of_format(&json).unwrap_err().state().code(), "0A000");
}

/// CPU seconds of this thread: the machine may be busy with others.
pub(crate) fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Prints the figures of docs/decisions/0004-csv-decoder.md.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let mut text = Vec::new();
    generator::write_csv(1, 5_000_000, generator::DEFAULT_START, &mut text, |_, _| {}).unwrap();
    let columns = generator::declared_columns();
    let all: Vec<usize> = (0..9).collect();
    let ignore = CsvOptions { unbuilt: Unbuilt::Ignore, ..CsvOptions::default() };
    for (what, built, options) in [
        ("all 9", &all[..], CsvOptions::default()),
        ("4 built, 5 validated", &[1, 5, 6, 7][..], CsvOptions::default()),
        ("none built, all validated", &[][..], CsvOptions::default()),
        ("3 built, others ignored", &[1, 5, 7][..], ignore),
        ("fields split only", &[][..], ignore),
    ] {
        for messages in [false, true] {
            let mut decoder = CsvDecoder::new(&columns, built, options).unwrap();
            let (start, mut at, mut rows) = (cpu_seconds(), 0, 0);
            while at < text.len() {
                if messages {
                    let end = at + memchr::memchr(b'\n', &text[at..]).unwrap() + 1;
                    decoder.decode(&text[at..end], 0);
                    at = end;
                    if decoder.rows() < 8192 {
                        continue;
                    }
                } else {
                    at += decoder.decode_block(&text[at..], 0, true, 8192).0;
                }
                rows += std::hint::black_box(decoder.take().unwrap()).rows.num_rows();
            }
            rows += decoder.take().unwrap().rows.num_rows();
            assert_eq!(rows, 5_000_000);
            let form = if messages { "a line a message" } else { "blocks" };
            println!("{what}, {form}: {:.2} M rows/s", 5.0 / (cpu_seconds() - start));
        }
    }
}
