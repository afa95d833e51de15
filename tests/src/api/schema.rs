//! Schemas, taken at their word: what they do not name must not come.

use anyhow::{Context as _, Result, bail, ensure};
use jsonschema::Validator;
use serde_json::{Value, json};

/// A schema that refuses every field that it does not name.
pub(super) struct Strict {
    validator: Validator,
    /// Anything may be in it, and the schema says so.
    is_open: bool,
}

/// Objects of one value that are tried with a field more.
const TRIED: usize = 64;

impl Strict {
    /// That at `pointer` of a document.
    pub(super) fn of(document: &Value, pointer: &str) -> Result<Self> {
        let schema = document.pointer(pointer);
        let mut root = schema
            .with_context(|| format!("no schema at {pointer}"))?
            .clone();
        close(&mut root);
        // References begin at the root.
        for place in ["components", "$defs"] {
            let Some(mut named) = document.get(place).cloned() else {
                continue;
            };
            let schemas = match place {
                "components" => &mut named["schemas"],
                _ => &mut named,
            };
            let schemas = schemas.as_object_mut().context("schemas by name")?;
            schemas.values_mut().for_each(close_inside);
            root[place] = named;
        }
        root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
        let is_open = root["additionalProperties"] == true;
        let options = jsonschema::options().should_validate_formats(true);
        let validator = options.build(&root);
        let validator = validator.map_err(|error| anyhow::anyhow!("{pointer}: {error}"))?;
        Ok(Self { validator, is_open })
    }

    /// The value is as the schema says, and would not be with any other field.
    pub(super) fn check(&self, value: &Value) -> Result<()> {
        let errors: Vec<String> = self
            .validator
            .iter_errors(value)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        ensure!(errors.is_empty(), "{}\n{value:#}", errors.join("\n"));
        if self.is_open {
            return Ok(());
        }
        let mut places = Vec::new();
        objects(value, String::new(), &mut places);
        for place in places.into_iter().take(TRIED) {
            let mut more = value.clone();
            let Some(Value::Object(object)) = more.pointer_mut(&place) else {
                bail!("no object at {place}");
            };
            object.insert("undocumented".to_owned(), json!([]));
            ensure!(
                !self.validator.is_valid(&more),
                "the object at `{place}` may have fields that nobody documented: {value:#}"
            );
        }
        Ok(())
    }

    pub(super) fn is_valid(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }
}

/// Closes every schema of a value inside this one. Parts of which one value's schema is composed stay open, as each of
/// them knows only its own fields; so does this one itself, which is closed where it is used.
fn close_inside(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    for (keyword, inside) in schema {
        match (keyword.as_str(), inside) {
            ("properties", Value::Object(fields)) => fields.values_mut().for_each(close),
            ("items" | "additionalProperties", inside) => close(inside),
            ("prefixItems", Value::Array(items)) => items.iter_mut().for_each(close),
            ("oneOf" | "anyOf" | "allOf", Value::Array(parts)) => {
                parts.iter_mut().for_each(close_inside);
            }
            _ => {}
        }
    }
}

fn close(schema: &mut Value) {
    close_inside(schema);
    if let Value::Object(schema) = schema {
        schema.insert("unevaluatedProperties".to_owned(), false.into());
    }
}

fn objects(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            places.push(place.clone());
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                objects(value, format!("{place}/{name}"), places);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                objects(value, format!("{place}/{index}"), places);
            }
        }
        _ => {}
    }
}
