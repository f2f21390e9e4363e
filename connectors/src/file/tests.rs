//! External tables over files made here: splits, headers, errors, inference.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;

use super::*;
use crate::generator;

#[derive(Debug, Default)]
struct Skipped(Mutex<Vec<(u64, String)>>);

impl BadLines for Skipped {
    fn skip(&self, _file: &str, line: u64, column: Option<&str>, error: &str, _raw: &[u8]) {
        self.0.lock().push((line, format!("{}: {error}", column.unwrap_or("-"))));
    }
}

fn definition(location: &Path, options: &[(&str, &str)]) -> FileDefinition {
    FileDefinition {
        name: "t".into(),
        columns: Vec::new(),
        stored_as: "CSV".into(),
        location: location.display().to_string(),
        options: options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    }
}

fn open_with(location: &Path, options: &[(&str, &str)]) -> Arc<dyn Scan> {
    open(&definition(location, options), Arc::new(Skipped::default())).unwrap()
}

fn read(scan: &dyn Scan, columns: &[usize], pieces: usize) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    for split in scan.splits(pieces)? {
        for batch in scan.read(&split, columns)? {
            batches.push(batch?);
        }
    }
    Ok(batches)
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn types(scan: &dyn Scan) -> Vec<String> {
    scan.schema().fields().iter().map(|field| format!("{} {}", field.name(), PgType::of(field).name())).collect()
}

#[test]
fn the_data_sets_columns_are_inferred() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.csv");
    generator::write_csv(1, 20_000, generator::DEFAULT_START, &mut std::fs::File::create(&path).unwrap(), |_, _| {})
        .unwrap();
    let scan = open_with(&path, &[]);
    let expected = [
        "event_time timestamp with time zone",
        "event_type text",
        "product_id bigint",
        "category_id bigint",
        "category_code text",
        "brand text",
        "price numeric",
        "user_id bigint",
        "user_session text",
    ];
    assert_eq!(types(scan.as_ref()), expected);
    for columns in [&[][..], &[0], &[6, 1], &[0, 1, 2, 3, 4, 5, 6, 7, 8]] {
        assert_eq!(count(&read(scan.as_ref(), columns, 1).unwrap()), 20_000, "{columns:?}");
    }
}

#[test]
fn values_choose_the_narrowest_type_that_prints_them() {
    let folder = tempfile::tempdir().unwrap();
    let text = "b,i,n,f,d,ts,z,zip,big,none\n\
        true,1,1.50,1e5,2020-02-29,2020-01-01 10:00:00,2020-01-01 10:00:00 UTC,007,99999999999999999999,\n\
        FALSE,-2,3,2,2020-03-01,2020-01-01T10:00:00.5,2020-01-01T10:00:00Z,8,1,\n";
    let scan = open_with(&file(&folder, "a.csv", text), &[]);
    let names: Vec<String> =
        types(scan.as_ref()).iter().map(|name| name.split_once(' ').unwrap().1.to_string()).collect();
    let expected = [
        "boolean",
        "bigint",
        "numeric",
        "double precision",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "text",
        "numeric",
        "text",
    ];
    assert_eq!(names, expected);
    assert_eq!(count(&read(scan.as_ref(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1).unwrap()), 2);
    let plain = open_with(&file(&folder, "b.csv", "1,a\n2,b\n"), &[]);
    assert_eq!(types(plain.as_ref()), ["column1 bigint", "column2 text"]);
    assert_eq!(count(&read(plain.as_ref(), &[0], 1).unwrap()), 2);
}

#[test]
fn every_line_is_in_one_split_whatever_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    for end in ["\n", "\r\n"] {
        for tail in ["", "last,9"] {
            let lines: Vec<String> = (0..40).map(|i| format!("{},{i}", "x".repeat(i % 5))).collect();
            let text = format!("name,n{end}{}{end}{end}{tail}", lines.join(end));
            let path = file(&folder, "a.csv", &text);
            let scan = open_with(&path, &[]);
            let expected = 40 + usize::from(!tail.is_empty());
            for cut in 0..=text.len() as u64 {
                for columns in [&[][..], &[1]] {
                    let split =
                        |start, end| thalweg_dataflow::scan::Split { path: path.display().to_string(), start, end };
                    let rows = |split| count(&scan.read(&split, columns).unwrap().collect::<Result<Vec<_>>>().unwrap());
                    let parts = (rows(split(0, cut)), rows(split(cut, text.len() as u64)));
                    assert_eq!(parts.0 + parts.1, expected, "{columns:?} cut at {cut}: {parts:?}");
                }
            }
        }
    }
}

#[test]
fn headers_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "a.csv", "\u{feff}name,n\na,1\nname,n\nb,2\n");
    for (has, expected) in [("true", 2), ("auto", 2)] {
        let scan = open_with(&path, &[("format.has_header", has)]);
        assert_eq!(types(scan.as_ref()), ["name text", "n bigint"]);
        assert_eq!(count(&read(scan.as_ref(), &[0], 1).unwrap()), expected, "{has}");
        assert_eq!(count(&read(scan.as_ref(), &[], 1).unwrap()), expected, "{has}");
    }
    let scan = open_with(&path, &[("format.has_header", "false")]);
    assert_eq!(count(&read(scan.as_ref(), &[0], 1).unwrap()), 4);
    assert_eq!(count(&read(scan.as_ref(), &[], 1).unwrap()), 4);
    let mut renamed = definition(&path, &[]);
    renamed.columns =
        ["x", "y"].map(|name| Column { name: name.into(), data_type: PgType::Text, not_null: false }).to_vec();
    renamed.columns[1].data_type = PgType::Int8;
    let scan = open(&renamed, Arc::new(Skipped::default())).unwrap();
    let error = read(scan.as_ref(), &[1], 1).unwrap_err();
    assert!(
        error.message().ends_with("a.csv\", line 3, column \"y\": invalid input syntax for type bigint: \"n\""),
        "{error}"
    );
}

#[test]
fn malformed_lines_fail_or_are_skipped_with_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("n,t\n");
    for line in 2..=200_000 {
        text += &match line {
            150_000 => "x,bad\n".to_string(),
            150_001 => "short\n".to_string(),
            _ => format!("{line},some text to make the file long enough for splits\n"),
        };
    }
    let path = file(&folder, "a.csv", &text);
    let scan = open_with(&path, &[]);
    assert!(scan.splits(4).unwrap().len() > 1);
    let error = read(scan.as_ref(), &[0], 4).unwrap_err();
    let place =
        format!("file \"{}\", line 150000, column \"n\": invalid input syntax for type bigint: \"x\"", path.display());
    assert_eq!((error.state().code(), error.message()), ("22P02", place.as_str()));
    let error = read(scan.as_ref(), &[1], 4).unwrap_err();
    assert!(error.message().contains("line 150001, column \"t\": missing data"), "{error}");
    let skipped = Arc::new(Skipped::default());
    let scan = open(&definition(&path, &[("on_error", "skip")]), skipped.clone()).unwrap();
    assert_eq!(count(&read(scan.as_ref(), &[0, 1], 4).unwrap()), 199_997);
    assert_eq!(skipped.0.lock().iter().map(|(line, _)| *line).collect::<Vec<_>>(), [150_000, 150_001]);
}

#[test]
fn folders_globs_and_packed_files() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "a.csv", "n,t\n1,a\n");
    let mut gz = flate2::write::GzEncoder::new(
        std::fs::File::create(folder.path().join("b.csv.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    gz.write_all(b"n,t\n2,b\n3,c\n").unwrap();
    gz.finish().unwrap();
    let packed = zstd::encode_all(&b"n,t\n4,d\n"[..], 3).unwrap();
    std::fs::write(folder.path().join("c.csv.zst"), packed).unwrap();
    file(&folder, ".hidden", "no\n");
    let whole = open_with(folder.path(), &[]);
    assert_eq!(count(&read(whole.as_ref(), &[0, 1], 4).unwrap()), 4);
    assert_eq!(count(&read(whole.as_ref(), &[], 4).unwrap()), 4);
    assert_eq!(count(&read(open_with(&folder.path().join("*.csv.*"), &[]).as_ref(), &[0], 1).unwrap()), 3);
    for missing in ["x.csv", "*.none"] {
        let error = open(&definition(&folder.path().join(missing), &[]), Arc::new(Skipped::default())).unwrap_err();
        assert_eq!(error.state().code(), "58P01");
        assert!(error.message().contains(&folder.path().display().to_string()), "{error}");
    }
    let error =
        open(&definition(folder.path(), &[("format.delimeter", ";")]), Arc::new(Skipped::default())).unwrap_err();
    assert_eq!(error.hint_text(), Some("Perhaps you meant the option \"delimiter\"."));
}

#[test]
fn line_feeds_in_quotes_are_an_option() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "a.csv", "t,n\n\"a\nb\",1\n\"c,d\",2\n");
    assert!(read(open_with(&path, &[("has_header", "true")]).as_ref(), &[0], 1).is_err());
    let scan = open_with(&path, &[("format.newlines_in_values", "true")]);
    for columns in [&[][..], &[0, 1]] {
        assert_eq!(count(&read(scan.as_ref(), columns, 8).unwrap()), 2);
    }
}

#[test]
fn a_limit_does_not_read_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "a.csv", &format!("n\n{}x\n", "1\n".repeat(2_000_000)));
    let mut definition = definition(&path, &[]);
    definition.columns = vec![Column { name: "n".into(), data_type: PgType::Int8, not_null: false }];
    let scan = open(&definition, Arc::new(Skipped::default())).unwrap();
    let mut batches = scan.read(&scan.splits(1).unwrap()[0], &[0]).unwrap();
    let first = batches.next().unwrap().unwrap();
    assert_eq!((first.num_rows(), first.column(0).null_count()), (8192, 0));
    drop(batches);
    assert_eq!(read(scan.as_ref(), &[0], 1).unwrap_err().state().code(), "22P02");
}

/// Prints figures of docs/decisions/0004-csv-decoder.md.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ev.csv");
    generator::write_csv(1, 5_000_000, generator::DEFAULT_START, &mut std::fs::File::create(&path).unwrap(), |_, _| {})
        .unwrap();
    let scan = open_with(&path, &[]);
    for columns in [&[][..], &[], &[1, 5, 7], &[5], &[0, 1, 2, 3, 4, 5, 6, 7, 8]] {
        let (start, cpu) = (Instant::now(), crate::format::csv::cpu_seconds());
        assert_eq!(count(&read(scan.as_ref(), columns, 1).unwrap()), 5_000_000);
        let cpu = crate::format::csv::cpu_seconds() - cpu;
        println!("columns {columns:?}: {:.2} M rows/s of CPU, {:?} wall", 5.0 / cpu, start.elapsed());
    }
}
