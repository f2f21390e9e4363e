//! The letters that change what a regular expression means.

use thalweg_dataflow::{Error, Result, SqlState};

/// What the letters say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Options {
    /// Any case.
    pub(super) any_case: bool,
    /// `.` and negated brackets leave the line feed out.
    pub(super) line_stops: bool,
    /// `^` and `$` match at line feeds too.
    pub(super) line_anchors: bool,
    /// White space and comments mean nothing.
    pub(super) expanded: bool,
    /// No character is special.
    pub(super) literal: bool,
}

impl Options {
    /// Follows a letter; false: there is no such letter.
    pub(super) fn set(&mut self, letter: char) -> Result<bool> {
        match letter {
            'i' => self.any_case = true,
            'c' => self.any_case = false,
            'm' | 'n' => (self.line_stops, self.line_anchors) = (true, true),
            'p' => (self.line_stops, self.line_anchors) = (true, false),
            'w' => (self.line_stops, self.line_anchors) = (false, true),
            's' => (self.line_stops, self.line_anchors) = (false, false),
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            'b' | 'e' => {
                return Err(Error::unsupported(format!("the option {letter} of a regular expression"))
                    .hint("Only PostgreSQL's advanced regular expressions are known."));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What a function's argument says; and whether it holds `g`, for all matches.
    pub(super) fn parse(letters: &str) -> Result<(Options, bool)> {
        let (mut options, mut all) = (Options::default(), false);
        for letter in letters.chars() {
            if letter == 'g' {
                all = true;
            } else if !options.set(letter)? {
                let message = format!("invalid regular expression option: \"{letter}\"");
                return Err(Error::new(SqlState::InvalidParameter, message));
            }
        }
        Ok((options, all))
    }
}
