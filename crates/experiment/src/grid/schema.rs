//! The JSON Schema of an experiment file, from the table of keys that the parser reads.

use super::draft::Draft;
use super::key::{Form, Key, Range, Role, Shown};
use super::section::LONGEST_NAME;
use super::settings::trainer::{FREE_AXES, KEYS, Takes, TrainerKey};
use super::settings::{self, AXES, CONTROLS, GROUPS, NAME, OWN_TRAINING, RULES, settings};
use crate::quantity::{Draws, Seconds};
use serde_json::{Map, Value, json};

/// A number with a suffix.
const QUANTITY: &str = r"^[0-9][0-9_]*(\.[0-9]+)?([eE][+-]?[0-9]+)? *[kKMBGT]?$";
/// A duration with its unit.
const DURATION: &str = r"^[0-9][0-9_]*(\.[0-9]+)? *(s|min|h|d)$";
/// A token budget in proportion to N.
const PER_PARAM: &str =
    r"^[0-9][0-9_]*(\.[0-9]+)? *(per param|per parameter|per-param|/param|x params)$";

/// Builds the JSON Schema (draft 2020-12) of an experiment file, for editors to complete from.
pub fn schema() -> Value {
    let mut root = object("An experiment: what to train, how to analyse it, how to carry it out.");
    put(
        &mut root,
        "$schema",
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    put(&mut root, "title", json!("orchestrator experiment"));
    let name = json!({
        "type": "string", "maxLength": LONGEST_NAME, "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]*$",
        "description": NAME,
    });
    insert(&mut root, "name", name);
    insert(&mut root, "grid", section("grid", false));
    insert(&mut root, "baselines", section("baselines", true));
    insert(&mut root, "controls", controls());
    insert(&mut root, "trainer", trainer());
    insert(&mut root, "claims", claims());
    for (path, doc) in GROUPS
        .iter()
        .filter(|(path, _)| !["grid", "baselines", "controls", "trainer", "claims"].contains(path))
    {
        insert(&mut root, path, object(doc));
    }
    for key in settings() {
        insert(&mut root, key.path, values(key));
    }
    put(
        &mut root,
        "anyOf",
        json!([{"required": ["grid"]}, {"required": ["baselines"]}]),
    );
    root
}

fn object(doc: &str) -> Value {
    json!({ "type": "object", "description": doc, "properties": {}, "additionalProperties": false })
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// Puts the schema of a dotted path into that of the file.
fn insert(object: &mut Value, path: &str, schema: Value) {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(f, rest)| (f, Some(rest)));
    let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let present = properties.get_mut(first);
    match (present, rest) {
        (Some(present), rest) => {
            let mapping = match present.get_mut("anyOf").and_then(Value::as_array_mut) {
                Some(forms) => forms
                    .iter_mut()
                    .find(|form| form.get("properties").is_some()),
                None => Some(present),
            };
            match (mapping, rest) {
                (Some(mapping), Some(rest)) => insert(mapping, rest, schema),
                // A key that is a value or a mapping: both forms, under the key's own words.
                (Some(group), None) => *group = alternatives(schema, group.take()),
                (None, _) => {}
            }
        }
        (None, None) => {
            properties.insert(first.to_owned(), schema);
        }
        (None, Some(_)) => {}
    }
}

/// Adds a form to the schema of a key.
fn alternatives(mut key: Value, form: Value) -> Value {
    if let Some(forms) = key.get_mut("anyOf").and_then(Value::as_array_mut) {
        forms.push(form);
    }
    key
}

/// The schema of `grid` or `baselines`.
fn section(name: &str, dense: bool) -> Value {
    let mut schema = object(group(name));
    let fits = |key: &&Key| !(dense && key.role == Role::Dlcm);
    for key in AXES.iter().filter(fits) {
        insert(&mut schema, key.path, values(key));
    }
    let points: Map<String, Value> = AXES
        .iter()
        .chain(settings())
        .filter(|key| key.is_axis() && !(dense && key.role == Role::Dlcm))
        .map(|key| (key.path.to_owned(), value(key)))
        .collect();
    let rules = [
        json!({ "enum": ["product", "zip"], "default": "product" }),
        json!({
            "type": "array", "items": {
                "type": "object", "properties": points, "additionalProperties": false,
            },
        }),
        json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ];
    for ((name, doc, _), mut rule) in RULES.iter().zip(rules) {
        put(&mut rule, "description", json!(doc));
        insert(&mut schema, name, rule);
    }
    if dense {
        insert(&mut schema, OWN_TRAINING.0, own_training());
    }
    let scalar = json!({ "type": ["number", "string", "boolean", "null"] });
    let axis = json!({"anyOf": [scalar, {"type": "array", "minItems": 1, "items": scalar}]});
    let axes = json!({
        "type": "object", "description": FREE_AXES.1, "additionalProperties": axis,
    });
    insert(&mut schema, FREE_AXES.0, axes);
    schema
}

/// The schema of `trainer`.
fn trainer() -> Value {
    let mut schema = plain(group("trainer"), KEYS);
    put(&mut schema, "required", json!(["command"]));
    schema
}

/// The schema of `claims`.
fn claims() -> Value {
    let mut claim = plain("A claim.", settings::claims::KEYS);
    put(&mut claim, "required", json!(["says", "test"]));
    json!({ "type": "object", "description": group("claims"), "additionalProperties": claim })
}

/// The schema of a mapping of keys that are no axes.
fn plain(doc: &str, keys: &[TrainerKey]) -> Value {
    let mut schema = object(doc);
    for key in keys {
        let text = json!({ "type": ["string", "number"] });
        let mut values = match key.takes {
            Takes::Texts => {
                json!({"anyOf": [text, {"type": "array", "minItems": 1, "items": text}]})
            }
            Takes::Text => json!({ "type": "string" }),
            Takes::Words(words) => json!({ "enum": words }),
            Takes::Map => json!({
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            }),
            Takes::Expression => json!({ "type": ["string", "number"] }),
            Takes::Number => json!({ "type": "number", "exclusiveMinimum": 0 }),
            Takes::AnyNumber => json!({ "type": "number" }),
            Takes::Duration => json!({"anyOf": [
                {"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": DURATION},
            ]}),
            Takes::Report => json!({"anyOf": [
                {"enum": ["file", "stdout", "trainer_state.json"]},
                {"type": "object", "minProperties": 1, "maxProperties": 1},
            ]}),
        };
        put(&mut values, "description", json!(key.doc));
        insert(&mut schema, key.name, values);
    }
    schema
}

/// The schema of `controls`.
fn controls() -> Value {
    let mut mapping = object(group("controls"));
    let word = json!({ "enum": ["level", "params"] });
    let tokens = json!({
        "description": CONTROLS[0].1,
        "anyOf": [word, {"type": "array", "minItems": 1, "items": word}],
        "default": "level",
    });
    insert(&mut mapping, CONTROLS[0].0, tokens);
    insert(&mut mapping, OWN_TRAINING.0, own_training());
    json!({ "description": group("controls"), "anyOf": [{"const": "tokens"}, mapping] })
}

/// The schema of values of `training` for baselines or controls alone.
fn own_training() -> Value {
    let mut schema = object(OWN_TRAINING.1);
    let own = |key: &&Key| key.role == Role::Every;
    for key in settings().filter(own) {
        if let Some(path) = key.path.strip_prefix("training.") {
            if path == "learning_rate" {
                insert(&mut schema, path, object(group("training.learning_rate")));
            }
            insert(&mut schema, path, values(key));
        }
    }
    schema
}

/// What a mapping is for.
fn group(name: &str) -> &'static str {
    let found = GROUPS.iter().find(|(path, _)| *path == name);
    found.map_or("", |(_, doc)| doc)
}

/// The schema of a key: one value, and a list where that makes an axis.
fn values(key: &Key) -> Value {
    let one = forms(key);
    let mut alternatives = one.clone();
    if key.is_axis() {
        alternatives.push(json!({
            "type": "array", "minItems": 1, "items": {"anyOf": one}, "description": "An axis.",
        }));
    }
    described(key, alternatives)
}

/// The schema of one value of a key.
fn value(key: &Key) -> Value {
    described(key, forms(key))
}

fn described(key: &Key, forms: Vec<Value>) -> Value {
    let mut schema = json!({ "description": key.doc, "anyOf": forms });
    let default = match (key.get)(&Draft::default()) {
        Shown::Number(x) if x.fract() == 0.0 => json!(x as i64),
        Shown::Number(x) => json!(x),
        Shown::Word(word) => json!(word),
        Shown::Flag(on) => json!(on),
        Shown::Nothing => return schema,
    };
    put(&mut schema, "default", default);
    schema
}

fn forms(key: &Key) -> Vec<Value> {
    key.forms.iter().flat_map(form).collect()
}

fn form(form: &Form) -> Vec<Value> {
    let quantity = json!({ "type": "string", "pattern": QUANTITY });
    match form {
        Form::Word(word, _) => vec![json!({ "const": word })],
        Form::Count(low, u64::MAX, _) => vec![json!({"type": "integer", "minimum": low}), quantity],
        Form::Count(low, high, _) => {
            vec![
                json!({"type": "integer", "minimum": low, "maximum": high}),
                quantity,
            ]
        }
        Form::Flag(_) => vec![json!({"type": "boolean"})],
        Form::Number(range, _) => vec![number(range), quantity],
        Form::Duration(_) => vec![
            json!({"type": "number", "minimum": 0, "maximum": Seconds::MOST}),
            json!({"type": "string", "pattern": DURATION}),
        ],
        Form::Draws(_) => {
            vec![
                json!({"type": "integer", "minimum": 0, "maximum": Draws::MOST}),
                quantity,
            ]
        }
        Form::Budget(_) => vec![
            json!({"type": "integer", "minimum": 1}),
            quantity,
            json!({"type": "string", "pattern": PER_PARAM}),
        ],
        Form::Name(_) => vec![json!({"type": "string", "minLength": 1})],
        Form::Path("", _) => vec![json!({"type": "string", "minLength": 1})],
        Form::Path(ending, _) => {
            vec![json!({"type": "string", "pattern": format!("{}$", ending.replace('.', "\\."))})]
        }
        Form::Numbers(least, range, _) => {
            vec![json!({"type": "array", "minItems": least, "items": number(range)})]
        }
        Form::Paths(_) => paths(),
        Form::NamedPaths(_) => vec![json!({
            "type": "object", "minProperties": 1, "additionalProperties": {"anyOf": paths()}
        })],
    }
}

fn paths() -> Vec<Value> {
    vec![
        json!({"type": "string", "minLength": 1}),
        json!({"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}),
    ]
}

fn number(range: &Range) -> Value {
    let mut schema = json!({ "type": "number" });
    let low = if range.closed_low {
        "minimum"
    } else {
        "exclusiveMinimum"
    };
    put(&mut schema, low, json!(range.low));
    if range.high.is_finite() {
        let high = if range.closed_high {
            "maximum"
        } else {
            "exclusiveMaximum"
        };
        put(&mut schema, high, json!(range.high));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the schema of a mapping's key, also where the mapping is one of several forms.
    fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
        let forms = schema
            .get("anyOf")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let mut mappings = [schema].into_iter().chain(forms);
        mappings.find_map(|mapping| mapping.get("properties")?.get(name))
    }

    #[test]
    fn every_key_is_described() {
        let schema = schema();
        for key in settings() {
            let found = key.path.split('.').try_fold(&schema, property);
            let found = found.unwrap_or_else(|| panic!("{} is missing", key.path));
            assert_eq!(found["description"], key.doc);
            let forms = found["anyOf"].as_array().expect("forms");
            let list = forms.iter().any(|form| form["type"] == "array");
            assert_eq!(
                list,
                key.is_axis()
                    || [
                        "data.text",
                        "data.tokens.train",
                        "data.tokens.validation",
                        "tune.learning_rate",
                    ]
                    .contains(&key.path),
                "{}",
                key.path
            );
        }
        for key in AXES {
            assert!(schema["properties"]["grid"]["properties"][key.path].is_object());
        }
        for key in KEYS {
            let found = &schema["properties"]["trainer"]["properties"][key.name];
            assert_eq!(found["description"], key.doc);
        }
        assert_eq!(
            schema["properties"]["training"]["properties"]["batch"]["default"],
            16
        );
    }

    #[test]
    fn a_key_may_be_a_value_or_a_mapping() {
        let schema = schema();
        let rate = &schema["properties"]["training"]["properties"]["learning_rate"];
        assert_eq!(rate["anyOf"][0]["type"], "number");
        let token = property(rate, "token").expect("a group's rate");
        assert_eq!(token["anyOf"][0]["exclusiveMinimum"], 0.0);
    }
}
