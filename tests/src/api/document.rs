//! docs/openapi.json: an answer is looked for in it, and what has come is kept.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::client::{Answer, Question};
use super::schema::Strict;

/// The document, and what of it has come.
pub(super) struct Document {
    pub(super) text: Value,
    pub(super) seen: BTreeSet<(String, u16)>,
}

impl Document {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            text: serde_json::from_str(include_str!("../../../docs/openapi.json"))?,
            seen: BTreeSet::new(),
        })
    }

    pub(super) fn operations(&self) -> Vec<(String, String, &Value)> {
        let paths = self.text["paths"].as_object().into_iter().flatten();
        let methods = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(|(method, operation)| (path.clone(), method.to_uppercase(), operation))
        });
        methods.collect()
    }

    /// Every operation with every status.
    pub(super) fn all(&self) -> BTreeSet<(String, u16)> {
        let mut all = BTreeSet::new();
        for (_, _, operation) in self.operations() {
            let id = operation["operationId"].as_str().unwrap_or_default();
            for status in operation["responses"].as_object().into_iter().flatten() {
                all.insert((id.to_owned(), status.0.parse().unwrap_or_default()));
            }
        }
        all
    }

    /// The answer is one that the document has for the question.
    pub(super) fn check(&mut self, question: &Question, answer: &Answer) -> Result<Value> {
        let Answer { status, body, .. } = answer;
        let method = question.method.to_lowercase();
        let path = question.path().replace('/', "~1");
        let operation = format!("/paths/{path}/{method}");
        let what = || format!("{} {}: {status}", question.method, question.target);
        let found = self.text.pointer(&operation).with_context(what)?;
        let id = found["operationId"].as_str().context("a name")?.to_owned();
        let content = found["responses"][status.to_string()]["content"].as_object();
        let content = content.with_context(|| format!("{} is not documented", what()))?;
        let types: Vec<&String> = content.keys().collect();
        ensure!(types == [&answer.media_type], "{}: {answer:?}", what());
        let media_type = answer.media_type.replace('/', "~1");
        let schema = format!("{operation}/responses/{status}/content/{media_type}/schema");
        let is_json = answer.media_type.ends_with("json");
        let value = match is_json {
            true => serde_json::from_slice(body).with_context(what)?,
            false => String::from_utf8_lossy(body).into_owned().into(),
        };
        Strict::of(&self.text, &schema)?
            .check(&value)
            .with_context(what)?;
        if *status >= 400 {
            ensure!(value["status"] == *status, "{}: {value}", what());
        }
        self.check_body(question, answer, &operation)?;
        self.seen.insert((id, *status));
        Ok(value)
    }

    /// What is carried out was asked as the document says.
    fn check_body(&self, question: &Question, answer: &Answer, operation: &str) -> Result<()> {
        let schema = format!("{operation}/requestBody/content/application~1json/schema");
        let is_documented = self.text.pointer(&schema).is_some();
        if answer.status != 200 {
            return Ok(());
        }
        match &question.body {
            Some((_, body)) if is_documented => {
                let body = serde_json::from_str(body)?;
                Strict::of(&self.text, &schema)?.check(&body)
            }
            Some(_) => bail!("{question:?}: no body is documented"),
            None => {
                ensure!(!is_documented, "{question:?}: a body is documented");
                Ok(())
            }
        }
    }

    /// A body that is refused is none by the document either.
    pub(super) fn refuses(&self, question: &Question) -> Result<()> {
        let path = question.path().replace('/', "~1");
        let schema = format!("/paths/{path}/post/requestBody/content/application~1json/schema");
        let (_, body) = question.body.as_ref().context("a body")?;
        let is_valid = Strict::of(&self.text, &schema)?.is_valid(&serde_json::from_str(body)?);
        ensure!(!is_valid, "the document has nothing against {question:?}");
        Ok(())
    }
}
