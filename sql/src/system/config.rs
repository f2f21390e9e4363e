//! `current_setting` and `set_config`.
//!
//! What the latter sets is in force from the session's next statement on.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::functions::Call;
use crate::session::asked::Asked;
use crate::settings::SessionSettings;

/// `current_setting`: with a second argument, null for what is no setting.
pub(super) fn get(call: &Call<'_>, settings: &BTreeMap<String, String>) -> Result<ArrayRef> {
    let missing_ok = call.args.len() > 1;
    let answer = |name: Option<String>| match name.map(|name| (settings.get(&name.to_lowercase()).cloned(), name)) {
        Some((None, name)) if !missing_ok => {
            Err(Error::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\"")))
        }
        Some((value, _)) => Ok(value),
        None => Ok(None),
    };
    Ok(Arc::new(call.texts(0)?.into_iter().map(answer).collect::<Result<StringArray>>()?))
}

/// A value of null is the default.
pub(super) fn set(call: &Call<'_>, asked: &Asked, settings: &SessionSettings) -> Result<ArrayRef> {
    let local = call.argument(2, &DataType::Boolean)?;
    let wishes = call.texts(0)?.into_iter().zip(call.texts(1)?).zip(local.as_boolean());
    let answer = |((name, value), local): ((Option<String>, Option<String>), Option<bool>)| {
        let missing = || Error::new(SqlState::NullValueNotAllowed, "SET requires parameter name");
        asked.ask(settings, &name.ok_or_else(missing)?, value.as_deref(), local == Some(true)).map(Some)
    };
    Ok(Arc::new(wishes.map(answer).collect::<Result<StringArray>>()?))
}
