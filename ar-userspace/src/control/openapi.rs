//! The document of the control socket, OpenAPI 3.1, made of the list that makes the router and of the types that are
//! told and taken.
//!
//! Of what is told, schemas say nothing against further fields, which a later version may add.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::problem::MEDIA_TYPE;
use super::routes::{Route, routes};
use super::server::{CONNECTION_WITHIN, CONNECTIONS};
use super::{MAX_STREAMS, QUEUE, view};

/// Where schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";

/// The document, as docs/openapi.json has it.
#[must_use]
pub fn text() -> String {
    // The alternate form of a value is indented.
    format!("{:#}\n", document())
}

fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in routes() {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method] = operation(&route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "The control socket of arfw",
            "summary": "Who is banned and why, what happens, and orders to the daemon.",
            "description": description(),
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{
            "url": "http://arfw",
            "description": "HTTP/1.1 at the Unix socket `/run/arfw/arfw.sock` (`--run-dir`), mode 0600. The host is not looked at.",
        }],
        "security": [],
        "paths": paths,
        "components": {"schemas": schemas.all()},
    })
}

fn description() -> String {
    format!(
        "Whoever may open the socket may ask, and that is root; orders are logged with the user and process of who gave them.\n\n\
         What is not carried out is answered with a problem document (RFC 9457), whose `detail` says what was expected and what \
         was found. Besides those that are named at each operation, 404 comes at a path that is not here, and 405, with the header \
         `Allow`, at one that is asked in another way; `HEAD` is answered wherever `GET` is. What is no HTTP/1.1 is answered \
         with 400 and more than 100 header fields with 431, both without a body.\n\n\
         {CONNECTIONS} connections are served at once, and more of them wait; each lasts {} s at most, whatever goes on in it. \
         {QUEUE} requests wait for the daemon at once, and {MAX_STREAMS} event streams are open at once beside the connections.\n\n\
         Times are RFC 3339 in UTC, durations are seconds. Fields are not renamed and keep their meaning; a later version may \
         add some.",
        CONNECTION_WITHIN.as_secs()
    )
}

/// What is told and what is taken differ in which fields have to be there.
struct Schemas {
    told: SchemaGenerator,
    taken: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = SCHEMAS.into();
                settings.meta_schema = None;
            })
        };
        Self {
            told: settings().for_serialize().into_generator(),
            taken: settings().for_deserialize().into_generator(),
        }
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.told.take_definitions(true);
        all.extend(self.taken.take_definitions(true));
        all
    }
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "responses": responses(route, schemas),
    });
    if !route.description.is_empty() {
        operation["description"] = route.description.as_str().into();
    }
    if let Some(query) = route.query {
        operation["parameters"] = parameters(&query(&mut schemas.taken), schemas);
    }
    if let Some(body) = route.body {
        let schema = body(&mut schemas.taken);
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": schema}},
        });
    }
    operation
}

fn responses(route: &Route, schemas: &mut Schemas) -> Map<String, Value> {
    let answer = &route.answer;
    let mut content = json!({"schema": (answer.schema)(&mut schemas.told)});
    if let Some(event) = answer.event {
        content["x-event-data"] = event(&mut schemas.told).into();
    }
    let mut responses = Map::new();
    let told = json!({"description": answer.says, "content": {answer.media_type: content}});
    responses.insert("200".to_owned(), told);
    for (status, when) in &route.problems {
        let schema = schemas.told.subschema_for::<view::Problem>();
        let told = json!({"description": when, "content": {MEDIA_TYPE: {"schema": schema}}});
        responses.insert(status.as_str().to_owned(), told);
    }
    responses
}

/// The fields of a query, one parameter each. What may be left out may not be `null` in a query.
fn parameters(query: &Schema, schemas: &mut Schemas) -> Value {
    let name = query
        .get("$ref")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    // It is no schema of the document: each parameter has its own.
    let query = schemas.taken.definitions_mut().remove(name);
    let query = query.unwrap_or_default();
    let fields = query["properties"].as_object().cloned().unwrap_or_default();
    let required = query["required"].as_array().cloned().unwrap_or_default();
    let parameter = |(name, mut schema): (String, Value)| {
        let is_required = required.contains(&Value::from(name.as_str()));
        let description = schema["description"].take();
        let schema = schema
            .as_object_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        let mut schema: Map<String, Value> = schema
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect();
        if let Some(Value::Array(types)) = schema.get("type") {
            let first = types.first().cloned().unwrap_or_default();
            schema.insert("type".to_owned(), first);
        }
        json!({"name": name, "in": "query", "required": is_required, "description": description, "schema": schema})
    };
    fields.into_iter().map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_document_is_that_of_this_version() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let kept = fs::read_to_string(file).unwrap_or_default();
        assert!(
            kept == text(),
            "write `docs/openapi.json` anew: `arfw schema > docs/openapi.json`"
        );
    }

    /// Each operation has a name of its own, and each route is in the list, from which the document is made.
    #[test]
    fn no_route_is_made_beside_the_list() {
        let routes = routes();
        let mut names: Vec<_> = routes.iter().map(|route| route.id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), routes.len());
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/control");
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Ok(source) = fs::read_to_string(&path) else {
                continue;
            };
            let made = [".route", ".nest", ".merge", "_service"].map(|verb| format!("{verb}("));
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            for line in code.lines() {
                if made.iter().any(|verb| line.contains(verb)) {
                    found.push((name.clone(), line.trim().to_owned()));
                }
            }
        }
        found.sort();
        let expected = [
            (
                "routes.rs",
                "router = router.route(route.path, route.handler);",
            ),
            // At its own address, and described there.
            ("scrape.rs", ".route(METRICS, get(metrics))"),
        ];
        let expected = expected.map(|(file, line)| (file.to_owned(), line.to_owned()));
        assert_eq!(found, expected);
    }
}
