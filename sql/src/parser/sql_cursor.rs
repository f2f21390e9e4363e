//! DECLARE, FETCH, MOVE, CLOSE.

use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::Kind;
use super::cursor::Cursor;
use super::with_changes::refuse_changes;

/// DECLARE.
#[derive(Debug)]
pub(crate) struct Declare {
    /// The cursor.
    pub(crate) name: String,
    /// SCROLL, NO SCROLL.
    pub(crate) scroll: Option<bool>,
    /// BINARY.
    pub(crate) binary: bool,
    /// WITH HOLD.
    pub(crate) hold: bool,
    /// The query.
    pub(crate) query: Box<ast::Query>,
    /// The query as it was written.
    pub(crate) text: String,
}

/// Where a FETCH goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// So many rows ahead; none: the row again. `i64::MAX` is ALL.
    Forward(i64),
    /// So many back.
    Backward(i64),
    /// To the row of this number; negative ones count from the end.
    Absolute(i64),
    /// To the row so many ahead.
    Relative(i64),
}

/// FETCH, MOVE.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// The cursor.
    pub(crate) name: String,
    /// Where to.
    pub(crate) direction: Direction,
    /// MOVE: no rows are given.
    pub(crate) moves: bool,
}

/// DECLARE; the word is taken already.
pub(super) fn declare(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let name = cursor.identifier()?;
    let (mut scroll, mut binary) = (None, false);
    loop {
        if cursor.takes("BINARY") {
            binary = true;
        } else if cursor.takes("NO SCROLL") {
            scroll = Some(false);
        } else if cursor.takes("SCROLL") {
            scroll = Some(true);
        } else if !cursor.takes("INSENSITIVE") && !cursor.takes("ASENSITIVE") {
            break;
        }
    }
    cursor.expect("CURSOR")?;
    let hold = cursor.takes("WITH HOLD");
    if !hold {
        cursor.takes("WITHOUT HOLD");
    }
    cursor.expect("FOR")?;
    let start = cursor.place();
    let query = cursor.query()?;
    refuse_changes(&query, "DECLARE CURSOR must not contain data-modifying statements in WITH")?;
    Ok(Kind::Declare(Declare { name, scroll, binary, hold, query, text: cursor.written(start) }))
}

/// FETCH and MOVE; the word is taken already.
pub(super) fn fetch(cursor: &mut Cursor<'_>, moves: bool) -> Result<Kind> {
    let direction = direction(cursor)?;
    let _ = cursor.takes("FROM") || cursor.takes("IN");
    Ok(Kind::Fetch(Fetch { name: cursor.identifier()?, direction, moves }))
}

fn direction(cursor: &mut Cursor<'_>) -> Result<Direction> {
    const ONE: [(&str, Direction); 4] = [
        ("NEXT", Direction::Forward(1)),
        ("PRIOR", Direction::Backward(1)),
        ("FIRST", Direction::Absolute(1)),
        ("LAST", Direction::Absolute(-1)),
    ];
    // A cursor may be called as a direction is: `FETCH next`.
    if cursor.place_from_end() == 1 {
        return Ok(Direction::Forward(1));
    }
    if let Some((_, direction)) = ONE.iter().find(|(word, _)| cursor.takes(word)) {
        return Ok(*direction);
    }
    if cursor.takes("ABSOLUTE") {
        return number(cursor)?.map_or_else(|| cursor.unexpected(), |n| Ok(Direction::Absolute(n)));
    }
    if cursor.takes("RELATIVE") {
        return number(cursor)?.map_or_else(|| cursor.unexpected(), |n| Ok(Direction::Relative(n)));
    }
    let backward = !cursor.takes("FORWARD") && cursor.takes("BACKWARD");
    let count = if cursor.takes("ALL") { i64::MAX } else { number(cursor)?.unwrap_or(1) };
    Ok(match (backward, count) {
        (false, 0..) => Direction::Forward(count),
        (false, _) => Direction::Backward(-count),
        (true, 0..) => Direction::Backward(count),
        (true, _) => Direction::Forward(-count),
    })
}

fn number(cursor: &mut Cursor<'_>) -> Result<Option<i64>> {
    if cursor.word().is_some() {
        return Ok(None);
    }
    let place = cursor.position();
    match cursor.value() {
        None => Ok(None),
        Some(value) => match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                let error = Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{value}\""));
                Err(place.map_or(error.clone(), |place| error.at(place)))
            }
        },
    }
}

/// CLOSE name | ALL; the word is taken already.
pub(super) fn close(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if cursor.takes("ALL") {
        return Ok(Kind::Close(None));
    }
    cursor.identifier().map(Some).map(Kind::Close)
}
