//! The dimensions of an array, behind its elements' bytes.
//!
//! An array of one dimension that begins at 1 has none there. The bytes compare as PostgreSQL compares
//! arrays of equal elements: by the number of dimensions, their lengths, their first subscripts.

use super::{END, Items, items};
use crate::error::{Error, Result, SqlState};
use crate::types::PgType;

/// The most dimensions of an array, PostgreSQL's.
const MAX_DIMENSIONS: usize = 6;

/// One dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimension {
    /// How many elements, or arrays of fewer dimensions.
    pub length: usize,
    /// The first subscript.
    pub lower: i32,
}

impl Dimension {
    /// One that begins at 1.
    pub fn of(length: usize) -> Dimension {
        Dimension { length, lower: 1 }
    }

    /// The last subscript.
    pub fn upper(self) -> i32 {
        (i64::from(self.lower) + self.length as i64 - 1).clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }
}

/// The dimensions of an array, the outermost first; none of an empty one.
pub fn dimensions(element: &PgType, bytes: &[u8]) -> Vec<Dimension> {
    let mut items = items(element, bytes);
    let count = items.by_ref().count();
    of_tail(count, tail(&items))
}

/// The elements of an array, each as its bytes with the tag, and its dimensions.
pub fn parts<'a>(element: &PgType, bytes: &'a [u8]) -> (Vec<&'a [u8]>, Vec<Dimension>) {
    let mut behind = items(element, bytes);
    let items: Vec<&[u8]> = behind.by_ref().collect();
    let dimensions = of_tail(items.len(), tail(&behind));
    (items, dimensions)
}

fn of_tail(count: usize, tail: &[u8]) -> Vec<Dimension> {
    match count {
        0 => Vec::new(),
        _ => written(tail).unwrap_or_else(|| vec![Dimension::of(count)]),
    }
}

/// What stands behind the elements that were gone through.
pub(super) fn tail<'a>(behind: &Items<'a>) -> &'a [u8] {
    match behind.rest.split_first() {
        Some((&END, tail)) => tail,
        _ => &[],
    }
}

fn written(tail: &[u8]) -> Option<Vec<Dimension>> {
    let (count, rest) = tail.split_first()?;
    let (lengths, lowers) = rest.split_at_checked(usize::from(*count) * 4)?;
    let number = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?));
    let each = lengths.chunks_exact(4).zip(lowers.chunks_exact(4)).map(|(length, lower)| {
        let lower = (number(lower)? ^ (1 << 31)) as i32;
        Some(Dimension { length: number(length)? as usize, lower })
    });
    each.collect()
}

/// An array (as [`super::of_items`] makes it) with these dimensions, which hold as many elements.
pub fn shaped(mut bytes: Vec<u8>, dimensions: &[Dimension]) -> Vec<u8> {
    let plain = matches!(dimensions, [] | [Dimension { lower: 1, .. }]);
    if plain || dimensions.iter().any(|dimension| dimension.length == 0) {
        return bytes;
    }
    bytes.push(dimensions.len() as u8);
    bytes.extend(dimensions.iter().flat_map(|dimension| (dimension.length as u32).to_be_bytes()));
    bytes.extend(dimensions.iter().flat_map(|dimension| (dimension.lower as u32 ^ (1 << 31)).to_be_bytes()));
    bytes
}

/// Refuses more dimensions than there may be: 54000.
pub fn check_count(count: usize) -> Result<()> {
    if count <= MAX_DIMENSIONS {
        return Ok(());
    }
    let message = format!("number of array dimensions ({count}) exceeds the maximum allowed ({MAX_DIMENSIONS})");
    Err(Error::new(SqlState::ProgramLimitExceeded, message))
}

/// The error for arrays that do not fit together: 2202E.
fn unlike() -> Error {
    let message = "multidimensional arrays must have array expressions with matching dimensions";
    Error::new(SqlState::ArraySubscript, message)
}

/// One array of these, each an element of its first dimension; null ones are empty. Errors 2202E and
/// 54000.
pub fn stacked<'a>(element: &PgType, arrays: impl Iterator<Item = Option<&'a [u8]>>) -> Result<Vec<u8>> {
    let mut inner: Option<Vec<Dimension>> = None;
    let (mut all, mut count) = (Vec::new(), 0);
    for bytes in arrays {
        let bytes = bytes.unwrap_or(&[END]);
        let own = dimensions(element, bytes);
        match &inner {
            None => inner = Some(own),
            Some(known) if known.len() == own.len() && known.iter().zip(&own).all(|(one, other)| one == other) => {}
            Some(_) => return Err(unlike()),
        }
        all.extend(items(element, bytes));
        count += 1;
    }
    let inner = inner.unwrap_or_default();
    if inner.is_empty() {
        return Ok(super::of_items([]));
    }
    check_count(inner.len() + 1)?;
    let dimensions: Vec<Dimension> = std::iter::once(Dimension::of(count)).chain(inner).collect();
    Ok(shaped(super::of_items(all), &dimensions))
}

/// How many inner arrays begin at an element of an array of these dimensions.
pub fn borders(dimensions: &[Dimension], place: usize) -> usize {
    let mut size = 1;
    let inner = dimensions.iter().skip(1).rev().take_while(|dimension| {
        size *= dimension.length.max(1);
        place.is_multiple_of(size)
    });
    inner.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::array::of_items;

    #[test]
    fn dimensions_come_back_and_order_arrays_of_equal_elements() {
        let plain = of_items([&[1_u8, 0x80, 0, 0, 7][..]; 4]);
        let of = |dimensions: &[Dimension]| shaped(plain.clone(), dimensions);
        assert_eq!(dimensions(&PgType::Int4, &plain), [Dimension::of(4)]);
        let shapes = [
            vec![Dimension::of(4)],
            vec![Dimension { length: 4, lower: 2 }],
            vec![Dimension::of(1), Dimension::of(4)],
            vec![Dimension { length: 2, lower: -5 }, Dimension::of(2)],
            vec![Dimension { length: 2, lower: 0 }, Dimension::of(2)],
            vec![Dimension::of(4), Dimension::of(1)],
        ];
        for pair in shapes.windows(2) {
            assert!(of(&pair[0]) < of(&pair[1]), "{pair:?}");
        }
        for shape in &shapes {
            assert_eq!(dimensions(&PgType::Int4, &of(shape)), *shape);
        }
        assert!(dimensions(&PgType::Int4, &of_items([])).is_empty());
    }
}
