//! The binary format of COPY: rows out of bytes.
//!
//! Promises: data may be cut anywhere; a file of another format, a row of another width and data
//! that ends inside a row are 22P04. What follows the end mark is passed over.

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::concat;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::{PgType, read_binary};

/// What the data begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Rows that become arrays together.
const CHUNK_ROWS: usize = 8192;

/// Reads rows.
#[derive(Debug)]
pub(crate) struct BinaryRows {
    types: Vec<PgType>,
    rest: Vec<u8>,
    header: bool,
    ended: bool,
    /// The values of the rows that are no arrays yet, by column.
    values: Vec<Vec<ScalarValue>>,
    arrays: Vec<Vec<ArrayRef>>,
    rows: usize,
}

/// Takes so many bytes off the front, if they have come.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(front)
}

fn int16(bytes: &mut &[u8]) -> Option<i16> {
    take(bytes, 2)?.try_into().ok().map(i16::from_be_bytes)
}

fn int32(bytes: &mut &[u8]) -> Option<i32> {
    take(bytes, 4)?.try_into().ok().map(i32::from_be_bytes)
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(SqlState::BadCopyFileFormat, message)
}

impl BinaryRows {
    /// Before the first byte, for columns of these types.
    pub(crate) fn new(types: Vec<PgType>) -> BinaryRows {
        BinaryRows {
            values: types.iter().map(|_| Vec::new()).collect(),
            arrays: types.iter().map(|_| Vec::new()).collect(),
            types,
            rest: Vec::new(),
            header: false,
            ended: false,
            rows: 0,
        }
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes more data; the number of the row with an error is [`BinaryRows::rows`] and one.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<()> {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(data);
        let mut bytes = rest.as_slice();
        while !self.ended && self.next(&mut bytes)? {}
        self.rest = if self.ended { Vec::new() } else { bytes.to_vec() };
        Ok(())
    }

    /// Reads the header or a row; whether it was there whole.
    fn next(&mut self, bytes: &mut &[u8]) -> Result<bool> {
        let mut ahead = *bytes;
        if !self.header {
            let shown = &ahead[..ahead.len().min(SIGNATURE.len())];
            if !SIGNATURE.starts_with(shown) {
                return Err(bad("COPY file signature not recognized"));
            }
            let header = take(&mut ahead, SIGNATURE.len()).and_then(|_| int32(&mut ahead)).zip(int32(&mut ahead));
            let Some((flags, extension)) = header else { return Ok(false) };
            if flags & !0xffff != 0 {
                return Err(bad("unrecognized critical flags in COPY file header"));
            }
            let extension = usize::try_from(extension).map_err(|_| bad("invalid COPY file header (missing length)"))?;
            if take(&mut ahead, extension).is_none() {
                return Ok(false);
            }
            self.header = true;
            *bytes = ahead;
            return Ok(true);
        }
        let Some(count) = int16(&mut ahead) else { return Ok(false) };
        if count == -1 {
            self.ended = true;
            return Ok(true);
        }
        if usize::try_from(count) != Ok(self.types.len()) {
            return Err(bad(format!("row field count is {count}, expected {}", self.types.len())));
        }
        let mut fields = Vec::with_capacity(self.types.len());
        for _ in 0..count {
            let Some(length) = int32(&mut ahead) else { return Ok(false) };
            fields.push(match usize::try_from(length) {
                Ok(length) => match take(&mut ahead, length) {
                    Some(field) => Some(field),
                    None => return Ok(false),
                },
                Err(_) if length == -1 => None,
                Err(_) => return Err(bad("invalid field size")),
            });
        }
        for ((field, ty), values) in fields.into_iter().zip(&self.types).zip(&mut self.values) {
            values.push(match field {
                Some(field) => read_binary(ty, field)?,
                None => ScalarValue::try_from(ty.arrow())?,
            });
        }
        self.rows += 1;
        if self.rows.is_multiple_of(CHUNK_ROWS) {
            self.chunk()?;
        }
        *bytes = ahead;
        Ok(true)
    }

    fn chunk(&mut self) -> Result<()> {
        for (values, arrays) in self.values.iter_mut().zip(&mut self.arrays) {
            if !values.is_empty() {
                arrays.push(ScalarValue::iter_to_array(values.drain(..))?);
            }
        }
        Ok(())
    }

    /// The data has ended: the columns.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        if !self.rest.is_empty() || !self.header {
            return Err(bad("unexpected EOF in COPY data"));
        }
        self.chunk()?;
        let columns = self.types.iter().zip(&self.arrays).map(|(ty, arrays)| {
            let arrays: Vec<&dyn arrow::array::Array> = arrays.iter().map(AsRef::as_ref).collect();
            if arrays.is_empty() { Ok(new_empty_array(&ty.arrow())) } else { Ok(concat(&arrays)?) }
        });
        columns.collect()
    }
}
