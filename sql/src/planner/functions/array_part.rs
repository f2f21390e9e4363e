//! Arrays with an element or a slice replaced, as PostgreSQL's subscripted assignment does it.
//!
//! An array of one dimension grows to where the part is, with nulls between; one of more dimensions
//! does not. A null array counts as an empty one.

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use thalweg_dataflow::types::array::{self, Dimension};
use thalweg_dataflow::{Error, Result, SqlState};

use super::arrays::{Arrays, built, elements, integers};
use super::udf::{Input, Kernel};

/// The most elements that an array may have.
const MAX_ITEMS: i64 = 134_217_727;

/// An element that is null.
const NULL: &[u8] = &[2];

/// `a[i] = value`, `a[i][j] = value`: the array, the value, the subscripts.
pub(crate) const ELEMENT: Kernel = |input| {
    let (arrays, values, numbers) = (Arrays::of(input, 0)?, elements(input, 1, false)?, numbers(input)?);
    built(input.rows, |row| {
        let (items, dimensions) = arrays.parts(row).unwrap_or_default();
        let subscripts = numbers(row)?;
        let parts = Parts { items, dimensions };
        parts.with_element(&subscripts, &values[row]).map(Some)
    })
};

/// `a[i:j] = array`: the array, the other, for each bound its number and whether it was written.
pub(crate) const SLICE: Kernel = |input| {
    let (arrays, sources, numbers) = (Arrays::of(input, 0)?, Arrays::of(input, 1)?, numbers(input)?);
    built(input.rows, |row| {
        let Some(source) = sources.items(row) else {
            // Nothing is put into it.
            return Ok(arrays.bytes().is_valid(row).then(|| arrays.bytes().value(row).to_vec()));
        };
        let (items, dimensions) = arrays.parts(row).unwrap_or_default();
        let bounds: Vec<(Option<i32>, Option<i32>)> = numbers(row)?
            .chunks_exact(4)
            .map(|bound| ((bound[1] == 1).then_some(bound[0]), (bound[3] == 1).then_some(bound[2])))
            .collect();
        Parts { items, dimensions }.with_slice(&bounds, &source).map(Some)
    })
};

/// The numbers of each row; none may be null.
fn numbers(input: &Input<'_>) -> Result<impl Fn(usize) -> Result<Vec<i32>>> {
    let columns = (2..input.args.len()).map(|place| integers(input, place)).collect::<Result<Vec<_>>>()?;
    Ok(move |row| {
        let value = |column: &arrow::array::ArrayRef| match column.is_valid(row) {
            true => Ok(column.as_primitive::<Int32Type>().value(row)),
            false => Err(Error::new(SqlState::NullValueNotAllowed, "array subscript in assignment must not be null")),
        };
        columns.iter().map(value).collect()
    })
}

fn error(message: &str) -> Error {
    Error::new(SqlState::ArraySubscript, message)
}

fn check_size(count: i64) -> Result<()> {
    if count <= MAX_ITEMS {
        return Ok(());
    }
    let message = format!("array size exceeds the maximum allowed ({MAX_ITEMS})");
    Err(Error::new(SqlState::ProgramLimitExceeded, message))
}

/// An array, taken apart.
struct Parts<'a> {
    items: Vec<&'a [u8]>,
    dimensions: Vec<Dimension>,
}

impl<'a> Parts<'a> {
    fn with_element(mut self, subscripts: &[i32], value: &'a [u8]) -> Result<Vec<u8>> {
        array::check_count(subscripts.len())?;
        if self.dimensions.is_empty() {
            self.items = vec![value];
            self.dimensions = subscripts.iter().map(|lower| Dimension { length: 1, lower: *lower }).collect();
            return Ok(self.bytes());
        }
        if self.dimensions.len() != subscripts.len() {
            return Err(error("wrong number of array subscripts"));
        }
        if let ([_], [subscript]) = (self.dimensions.as_slice(), subscripts) {
            self.grow(*subscript, *subscript)?;
        }
        let place = self.place(subscripts).ok_or_else(|| error("array subscript out of range"))?;
        self.items[place] = value;
        Ok(self.bytes())
    }

    fn with_slice(mut self, bounds: &[(Option<i32>, Option<i32>)], source: &[&'a [u8]]) -> Result<Vec<u8>> {
        array::check_count(bounds.len())?;
        if self.dimensions.is_empty() {
            return self.filled(bounds, source);
        }
        if self.dimensions.len() < bounds.len() {
            return Err(error("wrong number of array subscripts"));
        }
        let known = |(place, dimension): (usize, &Dimension)| {
            let (lower, upper) = bounds.get(place).copied().unwrap_or_default();
            (lower.unwrap_or(dimension.lower), upper.unwrap_or_else(|| dimension.upper()))
        };
        let ranges: Vec<(i32, i32)> = self.dimensions.iter().enumerate().map(known).collect();
        if ranges.iter().any(|(lower, upper)| lower > upper) {
            return Err(error("upper bound cannot be less than lower bound"));
        }
        if let ([_], [(lower, upper)]) = (self.dimensions.as_slice(), ranges.as_slice()) {
            let wanted = i64::from(*upper) - i64::from(*lower) + 1;
            if wanted > source.len() as i64 {
                return Err(error("source array too small"));
            }
            self.grow(*lower, *upper)?;
        }
        let outside = |(dimension, (lower, upper)): (&Dimension, &(i32, i32))| {
            *lower < dimension.lower || *upper > dimension.upper()
        };
        if self.dimensions.iter().zip(&ranges).any(outside) {
            return Err(error("array subscript out of range"));
        }
        let mut places = vec![0];
        for (dimension, (lower, upper)) in self.dimensions.iter().zip(&ranges) {
            let own = |bound: i32| (i64::from(bound) - i64::from(dimension.lower)) as usize;
            let (from, to) = (own(*lower), own(*upper));
            let inner = |place: usize| (from..=to).map(move |own| place * dimension.length + own);
            places = places.into_iter().flat_map(inner).collect();
        }
        if places.len() > source.len() {
            return Err(error("source array too small"));
        }
        places.into_iter().zip(source).for_each(|(place, item)| self.items[place] = item);
        Ok(self.bytes())
    }

    /// An empty array with a slice in it.
    fn filled(mut self, bounds: &[(Option<i32>, Option<i32>)], source: &[&'a [u8]]) -> Result<Vec<u8>> {
        let mut count = 1_i64;
        for bound in bounds {
            let (Some(lower), Some(upper)) = *bound else {
                let detail =
                    "When assigning to a slice of an empty array value, slice boundaries must be fully specified.";
                return Err(error("array slice subscript must provide both boundaries").detail(detail));
            };
            let length = i64::from(upper) - i64::from(lower) + 1;
            check_size(length)?;
            count = count.saturating_mul(length.max(0));
            check_size(count)?;
            self.dimensions.push(Dimension { length: length.max(0) as usize, lower });
        }
        if source.len() < count as usize {
            return Err(error("source array too small"));
        }
        self.items = source[..count as usize].to_vec();
        Ok(self.bytes())
    }

    /// Makes the only dimension reach both subscripts.
    fn grow(&mut self, lower: i32, upper: i32) -> Result<()> {
        let Some(dimension) = self.dimensions.first_mut() else { return Ok(()) };
        let before = (i64::from(dimension.lower) - i64::from(lower)).max(0);
        let behind = (i64::from(upper) - i64::from(dimension.upper())).max(0);
        check_size(dimension.length as i64 + before + behind)?;
        dimension.lower = dimension.lower.min(lower);
        dimension.length += (before + behind) as usize;
        self.items.splice(..0, std::iter::repeat_n(NULL, before as usize));
        self.items.extend(std::iter::repeat_n(NULL, behind as usize));
        Ok(())
    }

    fn place(&self, subscripts: &[i32]) -> Option<usize> {
        self.dimensions.iter().zip(subscripts).try_fold(0, |place, (dimension, subscript)| {
            let own = usize::try_from(i64::from(*subscript) - i64::from(dimension.lower)).ok()?;
            (own < dimension.length).then_some(place * dimension.length + own)
        })
    }

    fn bytes(self) -> Vec<u8> {
        array::shaped(array::of_items(self.items), &self.dimensions)
    }
}
