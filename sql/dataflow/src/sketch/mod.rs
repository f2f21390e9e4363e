//! Sketches: aggregates that are near the truth with little state, for rows that only come.
//!
//! Promises: a sketch is a function of the multiset of its values, whatever order and parts they came
//! in, so that a view and the same query agree exactly; its bytes are part of the format version. Can
//! take nothing back.

pub mod distinct;
pub mod quantile;

use arrow::array::{Array, ArrayRef};

use crate::arrangement::hash::hash_bytes;
use crate::error::Result;
use crate::types::PgType;
use crate::types::codec::{Column, ValueCodec};

/// A sketch's bytes; `None`: of no value.
pub type Bytes = Option<Box<[u8]>>;

/// The values of an array as hashes, equal where PostgreSQL says the values are.
pub struct Hashes<'a> {
    codec: ValueCodec,
    column: Column<'a>,
    array: &'a ArrayRef,
    buffer: Vec<u8>,
}

impl<'a> Hashes<'a> {
    /// Of an array of this type.
    pub fn new(data_type: &PgType, array: &'a ArrayRef) -> Result<Hashes<'a>> {
        let codec = ValueCodec::new(data_type.clone(), true);
        let column = codec.column(array)?;
        Ok(Hashes { codec, column, array, buffer: Vec::new() })
    }

    /// The hash of a row's value; `None` where it is null.
    pub fn of(&mut self, row: usize) -> Option<u64> {
        if self.array.is_null(row) {
            return None;
        }
        self.buffer.clear();
        self.codec.write(&self.column, row, &mut self.buffer);
        Some(hash_bytes(&self.buffer))
    }
}
