//! Reading the weights of an encoder, with every way in which they can be wrong, and writing its graph.

use std::{collections::BTreeSet, fs};

use coterie::onnx::{NoSuchLayer, Output, Weights, WeightsError, bert};
use serde_json::json;

use crate::support::encoder::{TINY_LAYERS, TinyBert};

const QUERY: &str = "encoder.layer.1.attention.self.query.weight";

fn weights(tiny: &TinyBert) -> Weights {
    Weights::read(tiny.folder.path()).unwrap()
}

fn graph(tiny: &TinyBert) -> Vec<u8> {
    bert(&weights(tiny), &[Output::LastHiddenState]).unwrap()
}

/// What becomes of the weights after a change.
fn refusal(change: impl FnOnce(&mut TinyBert)) -> (TinyBert, WeightsError) {
    let mut tiny = TinyBert::new();
    change(&mut tiny);
    let error = Weights::read(tiny.folder.path()).unwrap_err();
    (tiny, error)
}

#[test]
fn the_same_weights_give_the_same_bytes() {
    let tiny = TinyBert::new();
    let outputs = [Output::LastHiddenState, Output::HiddenState(1)];
    let first = bert(&weights(&tiny), &outputs).unwrap();
    assert_eq!(first, bert(&weights(&tiny), &outputs).unwrap());
    let swapped = [outputs[1], outputs[0], outputs[1]];
    assert_eq!(first, bert(&weights(&tiny), &swapped).unwrap());
    assert_ne!(first, graph(&tiny));
}

#[test]
fn names_may_have_a_prefix() {
    let mut tiny = TinyBert::new();
    let plain = graph(&tiny);
    let tensors = std::mem::take(&mut tiny.tensors).into_iter();
    tiny.tensors = tensors
        .map(|(name, tensor)| (format!("bert.{name}"), tensor))
        .collect();
    tiny.write();
    assert_eq!(graph(&tiny), plain);
}

#[test]
fn tensors_that_the_encoder_does_not_use_change_nothing() {
    let mut tiny = TinyBert::new();
    let plain = graph(&tiny);
    let pooler = (vec![2], vec![1.0, 2.0]);
    tiny.tensors.insert("pooler.dense.bias".into(), pooler);
    tiny.write();
    assert_eq!(graph(&tiny), plain);
}

#[test]
fn every_tensor_can_be_changed_in_place() {
    let tiny = TinyBert::new();
    let mut weights = weights(&tiny);
    let mut names = BTreeSet::new();
    for (name, shape, values) in weights.tensors_mut() {
        let (expected_shape, expected) = &tiny.tensors[name];
        assert_eq!(
            (shape, &*values),
            (expected_shape.as_slice(), expected.as_slice())
        );
        assert!(names.insert(name.to_owned()), "{name} came twice");
        if name == QUERY {
            values[3] += 1.0;
        }
    }
    assert_eq!(names.len(), tiny.tensors.len());
    assert_ne!(
        bert(&weights, &[Output::LastHiddenState]).unwrap(),
        graph(&tiny)
    );
}

#[test]
fn a_layer_that_is_not_there_is_refused() {
    let weights = weights(&TinyBert::new());
    let ask = |layer| bert(&weights, &[Output::HiddenState(layer)]);
    assert!(ask(0).is_ok() && ask(TINY_LAYERS).is_ok());
    let (layer, last) = (TINY_LAYERS + 1, TINY_LAYERS);
    assert_eq!(ask(layer), Err(NoSuchLayer { layer, last }));
}

#[test]
fn a_missing_file_is_named() {
    for file in ["config.json", "model.safetensors"] {
        let (tiny, error) = refusal(|tiny| fs::remove_file(tiny.path(file)).unwrap());
        assert!(
            matches!(&error, WeightsError::Io { path, .. } if *path == tiny.path(file)),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_cut_off_is_no_whole_file() {
    let cuts: [fn(usize) -> usize; 4] = [|_| 0, |_| 7, |length| length / 2, |length| length - 1];
    for cut in cuts {
        let (tiny, error) = refusal(|tiny| {
            let path = tiny.path("model.safetensors");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..cut(bytes.len())]).unwrap();
        });
        let weights = tiny.path("model.safetensors");
        assert!(
            matches!(&error, WeightsError::Safetensors { path, .. } if *path == weights),
            "{error}"
        );
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let (tiny, error) = refusal(|tiny| {
        tiny.tensors.remove(QUERY);
        tiny.write();
    });
    let expected = format!(
        "{} has no tensor `{QUERY}`",
        tiny.path("model.safetensors").display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn more_layers_than_there_are_tensors_for_are_missing() {
    let (_, error) = refusal(|tiny| {
        tiny.config["num_hidden_layers"] = json!(u64::MAX);
        tiny.write();
    });
    let missing = format!("encoder.layer.{TINY_LAYERS}.attention.self.query.weight");
    assert!(
        matches!(&error, WeightsError::Missing { tensor, .. } if *tensor == missing),
        "{error}"
    );
}

#[test]
fn a_wrong_shape_is_told_beside_the_right_one() {
    let (_, error) = refusal(|tiny| {
        tiny.tensors.get_mut(QUERY).unwrap().0 = vec![4, 16];
        tiny.write();
    });
    let message = error.to_string();
    let expected = format!("the shape of `{QUERY}` is [4, 16]; by config.json it is [8, 8]");
    assert!(message.ends_with(&expected), "{message}");
}

#[test]
fn numbers_that_are_no_floating_point_ones_are_refused() {
    let (_, error) = refusal(|tiny| {
        let path = tiny.path("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let header = bytes.windows(3).position(|w| w == b"F32").unwrap();
        fs::write(
            path,
            [&bytes[..header], b"I32", &bytes[header + 3..]].concat(),
        )
        .unwrap();
    });
    assert!(matches!(&error, WeightsError::Dtype { .. }), "{error}");
}

#[test]
fn a_configuration_of_another_model_is_refused() {
    for (field, value, found) in [
        ("model_type", json!("mpnet"), "mpnet"),
        ("hidden_act", json!("relu"), "relu"),
        (
            "position_embedding_type",
            json!("relative_key"),
            "relative_key",
        ),
        ("num_attention_heads", json!(3), "3"),
        ("num_attention_heads", json!(0), "0"),
        ("max_position_embeddings", json!(0), "0"),
    ] {
        let (_, error) = refusal(|tiny| {
            tiny.config[field] = value;
            tiny.write();
        });
        let message = error.to_string();
        assert!(
            matches!(error, WeightsError::Unsupported { .. }),
            "{message}"
        );
        assert!(
            message.contains(&format!("`{field}` is {found}")),
            "{message}"
        );
    }
}

#[test]
fn a_configuration_that_says_too_little_is_refused() {
    let (tiny, error) =
        refusal(|tiny| fs::write(tiny.path("config.json"), r#"{"model_type": "bert"}"#).unwrap());
    assert!(
        matches!(&error, WeightsError::Config { path, .. } if *path == tiny.path("config.json")),
        "{error}"
    );
}
