//! The JSON Schemas of each kind of file, generated from the raw types. Editors complete and validate by the copies
//! in `config/schema/`, [`shape`](super::shape) by these.

use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    transform::{RecursiveTransform, Transform},
};
use serde_json::{Value, json};

use super::raw;

/// The schema of `config/coterie.yaml`.
pub fn config_schema() -> Value {
    generate::<raw::Config>()
}

/// The schema of `routes/<category>.yaml`.
pub fn route_schema() -> Value {
    generate::<raw::Route>()
}

/// The schema of `routes/_cards.yaml`.
pub fn cards_schema() -> Value {
    generate::<raw::Cards>()
}

/// The schema of a mapping in a file of its own.
pub fn mapping_schema() -> Value {
    generate::<raw::Mapping>()
}

/// The schema of `models` in `config/coterie.yaml`.
pub(super) fn models_schema() -> Value {
    generate::<raw::Models>()
}

fn generate<T: JsonSchema>() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
    RecursiveTransform(forbid_null).transform(&mut schema);
    schema.to_value()
}

/// A key that may be left out is left out; `key:` with nothing after it is more likely a slip than a wish.
fn forbid_null(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(branches) = schema.get_mut("anyOf").and_then(Value::as_array_mut) else {
        return;
    };
    branches.retain(|branch| *branch != json!({ "type": "null" }));
    if let [Value::Object(only)] = branches.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        for (key, value) in only {
            schema.ensure_object().entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// What [`shape`](super::super::shape) interprets.
    const INTERPRETED: &str = "$ref type properties additionalProperties required items oneOf anyOf const minimum \
                               maximum exclusiveMinimum";
    /// What asserts nothing.
    const NOTES: &str = "$schema $defs title description default examples format";
    /// What the checks hold to and say better.
    const CHECKED_LATER: &str = "pattern minLength minItems";

    #[test]
    fn the_shipped_schemas_are_those_of_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema");
        for (file, schema) in [
            ("coterie.schema.json", config_schema()),
            ("mapping.schema.json", mapping_schema()),
            ("route.schema.json", route_schema()),
            ("cards.schema.json", cards_schema()),
        ] {
            let path = folder.join(file);
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if bless() {
                fs::write(&path, &text).unwrap();
            }
            assert!(
                fs::read_to_string(&path).is_ok_and(|shipped| shipped == text),
                "config/schema/{file} is stale; run `COTERIE_BLESS=1 cargo test --lib schema` and commit it"
            );
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one switch of this test")]
    fn bless() -> bool {
        std::env::var_os("COTERIE_BLESS").is_some()
    }

    #[test]
    fn the_schemas_use_only_what_is_interpreted() {
        let known: BTreeSet<&str> = [INTERPRETED, NOTES, CHECKED_LATER]
            .iter()
            .flat_map(|words| words.split_whitespace())
            .collect();
        for schema in [
            config_schema(),
            mapping_schema(),
            route_schema(),
            cards_schema(),
        ] {
            for keyword in keywords(&schema) {
                assert!(known.contains(keyword), "nobody holds files to `{keyword}`");
            }
        }
    }

    #[test]
    fn a_number_that_the_schema_allows_fits_its_type() {
        for schema in subschemas(&config_schema()) {
            let bounded = schema.get("maximum").is_some() || schema["format"] == "uint64";
            let integer = schema["type"] == "integer";
            assert!(
                !integer || bounded && schema.get("minimum").is_some(),
                "{schema}"
            );
        }
    }

    fn keywords(schema: &Value) -> BTreeSet<&str> {
        let objects = subschemas(schema).into_iter().filter_map(Value::as_object);
        objects
            .flat_map(|object| object.keys().map(String::as_str))
            .collect()
    }

    fn subschemas(schema: &Value) -> Vec<&Value> {
        let mut all = vec![schema];
        for map in ["properties", "$defs"] {
            let named = schema[map].as_object().into_iter().flatten();
            all.extend(named.flat_map(|(_, inner)| subschemas(inner)));
        }
        for list in ["oneOf", "anyOf"] {
            all.extend(
                schema[list]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .flat_map(subschemas),
            );
        }
        for inner in ["items", "additionalProperties"] {
            all.extend(
                schema
                    .get(inner)
                    .filter(|inner| inner.is_object())
                    .into_iter()
                    .flat_map(subschemas),
            );
        }
        all
    }
}
