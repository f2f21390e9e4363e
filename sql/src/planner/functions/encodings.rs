//! Bytes as text and back: base64, hex, escape; texts in other encodings than UTF-8.

use arrow::array::{Array, ArrayRef};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::Definition;
use super::arithmetic::overloads;
use super::bytes::{build_bytes, bytes};
use super::text::{build, strings};
use super::udf::Input;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a line of base64.
const LINE: usize = 76;

/// Appends two hexadecimal digits.
pub(super) fn push_hex(byte: u8, out: &mut String) {
    for digit in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameter, message)
}

fn encode(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, formats) = (bytes(input, 0)?, strings(input, 1)?);
    build(
        input.rows,
        |row| values.is_null(row) || formats.is_null(row),
        |row, out| {
            let (value, format) = (values.value(row), formats.value(row));
            match format.to_ascii_lowercase().as_str() {
                "hex" => value.iter().for_each(|byte| push_hex(*byte, out)),
                "base64" => to_base64(value, out),
                "escape" => to_escapes(value, out),
                _ => return Err(wrong(format!("unrecognized encoding: \"{format}\""))),
            }
            Ok(())
        },
    )
}

fn to_base64(value: &[u8], out: &mut String) {
    let mut on_line = 0;
    for group in value.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
        on_line += 4;
        if on_line == LINE && group.len() == 3 {
            out.push('\n');
            on_line = 0;
        }
    }
}

fn to_escapes(value: &[u8], out: &mut String) {
    for byte in value {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 128.. => out.push_str(&format!("\\{byte:03o}")),
            byte => out.push(char::from(*byte)),
        }
    }
}

fn decode(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, formats) = (strings(input, 0)?, strings(input, 1)?);
    build_bytes(input, |row, out| {
        let (value, format) = (values.value(row), formats.value(row));
        match format.to_ascii_lowercase().as_str() {
            "hex" => from_hex(value, out),
            "base64" => from_base64(value, out),
            "escape" => from_escapes(value, out),
            _ => Err(wrong(format!("unrecognized encoding: \"{format}\""))),
        }
    })
}

fn from_hex(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut high = None;
    for c in text.chars() {
        if high.is_none() && matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(|| wrong(format!("invalid hexadecimal digit: \"{c}\"")))? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(high) => out.push(high << 4 | digit),
        }
    }
    match high {
        Some(_) => Err(wrong("invalid hexadecimal data: odd number of digits")),
        None => Ok(()),
    }
}

fn from_base64(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let (mut bits, mut count, mut end) = (0u32, 0, 3);
    for c in text.chars() {
        let digit = match c {
            ' ' | '\t' | '\n' | '\r' => continue,
            '=' => {
                if end == 3 {
                    end = match count {
                        2 => 1,
                        3 => 2,
                        _ => return Err(wrong("unexpected \"=\" while decoding base64 sequence")),
                    };
                }
                0
            }
            c => {
                let place = ALPHABET.iter().position(|known| char::from(*known) == c);
                let unknown = || wrong(format!("invalid symbol \"{c}\" found while decoding base64 sequence"));
                place.ok_or_else(unknown)? as u32
            }
        };
        bits = bits << 6 | digit;
        count += 1;
        if count == 4 {
            out.extend_from_slice(&bits.to_be_bytes()[1..1 + end]);
            (bits, count) = (0, 0);
        }
    }
    match count {
        0 => Ok(()),
        _ => Err(wrong("invalid base64 end sequence")
            .hint("Input data is missing padding, is truncated, or is otherwise corrupted.")),
    }
}

fn from_escapes(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        rest = match behind {
            [b'\\', behind @ ..] => {
                out.push(b'\\');
                behind
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                behind
            }
            _ => {
                let message = "invalid input syntax for type bytea";
                return Err(Error::new(SqlState::InvalidTextRepresentation, message));
            }
        };
    }
    Ok(())
}

/// The encodings that are known.
#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Utf8,
    Latin1,
    Ascii,
}

/// An encoding by its name, whose case and punctuation do not count.
fn encoding(name: &str, which: &str) -> Result<Encoding> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    const OTHERS: &[&str] = &[
        "big5",
        "euccn",
        "eucjis2004",
        "eucjp",
        "euckr",
        "euctw",
        "gb18030",
        "gbk",
        "iso88595",
        "iso88596",
        "iso88597",
        "iso88598",
        "johab",
        "koi8",
        "koi8r",
        "koi8u",
        "latin2",
        "latin3",
        "latin4",
        "latin5",
        "latin6",
        "latin7",
        "latin8",
        "latin9",
        "latin10",
        "mskanji",
        "muleinternal",
        "shiftjis",
        "shiftjis2004",
        "sjis",
        "uhc",
        "unicode",
        "win1250",
        "win1251",
        "win1252",
        "win1253",
        "win1254",
        "win1255",
        "win1256",
        "win1257",
        "win1258",
        "win866",
        "win874",
        "windows949",
        "windows950",
        "windows936",
        "windows932",
    ];
    Ok(match plain.as_str() {
        "utf8" | "unicode" => Encoding::Utf8,
        "latin1" | "iso88591" => Encoding::Latin1,
        "sqlascii" => Encoding::Ascii,
        other if OTHERS.contains(&other) => return Err(Error::unsupported(format!("the encoding {name}"))),
        _ => return Err(wrong(format!("invalid {which} encoding name \"{name}\""))),
    })
}

fn hex_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn invalid(value: &[u8], at: usize) -> Error {
    // As many bytes as the first of them says.
    let length = match value[at] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    let shown = hex_bytes(&value[at..value.len().min(at + length)]);
    let message = format!("invalid byte sequence for encoding \"UTF8\": {shown}");
    Error::new(SqlState::CharacterNotInRepertoire, message)
}

fn convert_from(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, names) = (bytes(input, 0)?, strings(input, 1)?);
    build(
        input.rows,
        |row| values.is_null(row) || names.is_null(row),
        |row, out| {
            let value = values.value(row);
            let encoding = encoding(names.value(row), "source")?;
            if let Some(at) = value.iter().position(|byte| *byte == 0) {
                return Err(invalid(value, at));
            }
            match encoding {
                Encoding::Latin1 => out.extend(value.iter().map(|byte| char::from(*byte))),
                Encoding::Utf8 | Encoding::Ascii => {
                    out.push_str(std::str::from_utf8(value).map_err(|error| invalid(value, error.valid_up_to()))?)
                }
            }
            Ok(())
        },
    )
}

fn convert_to(input: &Input<'_>) -> Result<ArrayRef> {
    let (values, names) = (strings(input, 0)?, strings(input, 1)?);
    build_bytes(input, |row, out| {
        let (value, encoding) = (values.value(row), encoding(names.value(row), "destination")?);
        if encoding != Encoding::Latin1 {
            out.extend_from_slice(value.as_bytes());
            return Ok(());
        }
        for c in value.chars() {
            out.push(u8::try_from(u32::from(c)).map_err(|_| {
                let own = hex_bytes(c.to_string().as_bytes());
                let message = format!(
                    "character with byte sequence {own} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\""
                );
                Error::new(SqlState::UntranslatableCharacter, message)
            })?);
        }
        Ok(())
    })
}

/// The overloads.
pub(super) const FUNCTIONS: &[Definition] = overloads! {
    "encode" (PgType::Bytea, PgType::Text) -> PgType::Text => encode;
    "decode" (PgType::Text, PgType::Text) -> PgType::Bytea => decode;
    "convert_from" (PgType::Bytea, PgType::Text) -> PgType::Text => convert_from;
    "convert_to" (PgType::Text, PgType::Text) -> PgType::Bytea => convert_to;
};
