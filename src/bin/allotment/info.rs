//! `allotment info`: what a file holds, from its header alone.

use allotment::ByteSize;
use allotment::io::{self, Description};
use serde::Serialize;
use serde_json::Value;

use crate::args::{InfoArgs, Shared};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Report, fields};
use crate::plot::with_commas;

/// Names in the order in which people ask for them.
const ORDER: [&str; 9] = ["format", "shape", "nnz", "dtype", "kind", "chunks", "bytes", "obs_columns", "var_columns"];
/// What few files have, and is shown of those that have it.
const RARE: [&str; 7] = ["layers", "obsm", "varm", "obsp", "varp", "uns", "raw"];

#[derive(Serialize)]
#[serde(transparent)]
struct InfoReport(Description);

/// Describes the file.
pub(crate) fn run(args: &InfoArgs, shared: &Shared) -> Outcome<()> {
    let description = io::describe(&args.file).map_err(|error| Failure::from(error).about(&args.file))?;
    output::print(&InfoReport(description), shared.json)
}

impl Report for InfoReport {
    fn text(&self) -> String {
        // The one description serves both forms, so that neither can leave out what the other says.
        let Ok(Value::Object(values)) = serde_json::to_value(self) else { return String::new() };
        let value = |name: &&'static str| Some((*name, values.get(*name)?));
        let rare = RARE.iter().filter_map(value).filter(|(_, value)| !is_nothing(value));
        let known = ORDER.iter().filter_map(value).chain(rare);
        let others = values.iter().filter(|(name, _)| !ORDER.iter().chain(&RARE).any(|known| known == name));
        let all = known.chain(others.map(|(name, value)| (name.as_str(), value)));
        fields(&all.map(|(name, value)| (name, shown(name, value))).collect::<Vec<_>>())
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_u64() {
            Some(bytes) if name == "bytes" => ByteSize(bytes).to_string(),
            Some(n) => with_commas(n),
            None => number.to_string(),
        },
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => {
            let between = if items.iter().all(Value::is_number) { " x " } else { ", " };
            items.iter().map(|item| shown("", item)).collect::<Vec<_>>().join(between)
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_shown_for_people() {
        assert_eq!(shown("shape", &json!([10000, 1000])), "10,000 x 1,000");
        assert_eq!(shown("bytes", &json!(2048)), "2.0 KiB");
        assert_eq!(shown("obs_columns", &json!(["a", "b"])), "a, b");
        assert_eq!(shown("obs_columns", &json!([])), "none");
        assert_eq!(shown("chunks", &Value::Null), "none");
    }
}
