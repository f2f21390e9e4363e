//! `like_regex` of a jsonpath: XQuery's flags over PostgreSQL's regular expressions.

use thalweg_dataflow::{Error, Result, SqlState};

use super::compiled;
use super::options::Options;

/// A pattern that was read once.
#[derive(Debug)]
pub(in super::super) struct LikeRegex {
    pattern: String,
    options: Options,
}

impl LikeRegex {
    /// Errors: 42601 for a flag that is none, 0A000 for `x`, 2201B for a pattern that is none.
    pub(in super::super) fn new(pattern: &str, flags: &str) -> Result<LikeRegex> {
        // The dot leaves the line feed out, unless `s` says otherwise.
        let mut options = Options { line_stops: true, ..Options::default() };
        let mut expanded = false;
        for flag in flags.chars() {
            match flag {
                'i' => options.any_case = true,
                's' => options.line_stops = false,
                'm' => options.line_anchors = true,
                'x' => expanded = true,
                'q' => options.literal = true,
                _ => {
                    let error = Error::new(SqlState::SyntaxError, "invalid input syntax for type jsonpath");
                    let detail = format!("Unrecognized flag character \"{flag}\" in LIKE_REGEX predicate.");
                    return Err(error.detail(detail));
                }
            }
        }
        if options.literal {
            (options.line_stops, options.line_anchors) = (false, false);
        } else if expanded {
            let message = "XQuery \"x\" flag (expanded regular expressions) is not implemented";
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        compiled(pattern, options)?;
        Ok(LikeRegex { pattern: pattern.into(), options })
    }

    /// Whether a part of a text matches.
    pub(in super::super) fn is_match(&self, text: &str) -> Result<bool> {
        Ok(compiled(&self.pattern, self.options)?.is_match(text))
    }
}
