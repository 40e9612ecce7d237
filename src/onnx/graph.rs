//! An ONNX graph in the making. The field numbers are those of `onnx.proto`
//! (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>), version 8 of the format.

use std::collections::BTreeSet;

use super::{proto::Message, weights::Tensor};

const IR_VERSION: i64 = 8;

/// The first set of operations that has `LayerNormalization`.
const OPSET: i64 = 17;

/// The type of a tensor's numbers (`TensorProto.DataType`).
#[derive(Clone, Copy)]
pub(super) enum DataType {
    Float = 1,
    Int64 = 7,
}

/// An operation's setting.
pub(super) enum Attribute {
    Int(i64),
    Float(f32),
    Ints(&'static [i64]),
}

/// One dimension of an input or an output.
#[derive(Clone, Copy)]
pub(super) enum Dimension {
    /// Of any size, the same wherever the name stands.
    Named(&'static str),
    Fixed(i64),
}

/// Operations and constants, in the order in which they were asked for.
#[derive(Default)]
pub(super) struct Graph<'a> {
    fields: Message<'a>,
    nodes: usize,
    constants: BTreeSet<String>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(name: &str) -> Self {
        Self {
            fields: Message::new().text(2, name),
            ..Self::default()
        }
    }

    /// The whole file.
    pub(super) fn into_model(self) -> Vec<u8> {
        let opset = Message::new().text(1, "").int(2, OPSET);
        Message::new()
            .int(1, IR_VERSION)
            .text(2, "coterie")
            .message(7, self.fields)
            .message(8, opset)
            .into_bytes()
    }

    /// An input of whole numbers.
    pub(super) fn input(&mut self, name: &str, shape: &[Dimension]) -> String {
        self.fields
            .push(11, value_info(name, DataType::Int64, shape));
        name.to_owned()
    }

    /// Gives `value` out under `name`.
    pub(super) fn output(&mut self, name: &str, value: &str, shape: &[Dimension]) {
        self.push_node("Identity", &[value], &[], name);
        self.fields
            .push(12, value_info(name, DataType::Float, shape));
    }

    /// Adds an operation; gives its output's name.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str]) -> String {
        self.node_with(op, inputs, &[])
    }

    /// Adds an operation with settings; gives its output's name.
    pub(super) fn node_with(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let output = format!("{}_{}", op.to_lowercase(), self.nodes);
        self.push_node(op, inputs, attributes, &output);
        output
    }

    pub(super) fn weight(&mut self, tensor: &'a Tensor) -> String {
        self.constant(&tensor.name, DataType::Float, &tensor.shape, |message| {
            message.floats(9, &tensor.values)
        })
    }

    /// The transpose of a matrix.
    pub(super) fn transposed_weight(&mut self, tensor: &'a Tensor) -> String {
        let shape: Vec<usize> = tensor.shape.iter().rev().copied().collect();
        let columns = shape.first().copied().unwrap_or(1);
        self.constant(&tensor.name, DataType::Float, &shape, |message| {
            message.transposed(9, &tensor.values, columns)
        })
    }

    pub(super) fn scalar(&mut self, name: &str, value: f32) -> String {
        self.constant(name, DataType::Float, &[], |message| {
            message.bytes(9, &value.to_le_bytes())
        })
    }

    pub(super) fn ints(&mut self, name: &str, values: &[i64]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, &[values.len()], |message| {
            message.bytes(9, &bytes)
        })
    }

    /// Adds a constant the first time that its name is used.
    fn constant(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: &[usize],
        with_data: impl FnOnce(Message<'a>) -> Message<'a>,
    ) -> String {
        if self.constants.insert(name.to_owned()) {
            let tensor = shape
                .iter()
                .fold(Message::new(), |message, size| {
                    message.int(1, signed(*size))
                })
                .int(2, data_type as i64)
                .text(8, name);
            self.fields.push(5, with_data(tensor));
        }
        name.to_owned()
    }

    fn push_node(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        output: &str,
    ) {
        let node = inputs
            .iter()
            .fold(Message::new(), |node, input| node.text(1, input))
            .text(2, output)
            .text(3, output)
            .text(4, op);
        let node = attributes.iter().fold(node, |node, (name, value)| {
            node.message(5, value.encode(name))
        });
        self.fields.push(1, node);
        self.nodes += 1;
    }
}

impl Attribute {
    fn encode(&self, name: &str) -> Message<'static> {
        const FLOAT: i64 = 1;
        const INT: i64 = 2;
        const INTS: i64 = 7;
        let message = Message::new().text(1, name);
        match self {
            Self::Float(value) => message.float(2, *value).int(20, FLOAT),
            Self::Int(value) => message.int(3, *value).int(20, INT),
            Self::Ints(values) => values
                .iter()
                .fold(message, |message, value| message.int(8, *value))
                .int(20, INTS),
        }
    }
}

fn value_info(name: &str, data_type: DataType, shape: &[Dimension]) -> Message<'static> {
    let shape = shape.iter().fold(Message::new(), |shape, dimension| {
        let dimension = match dimension {
            Dimension::Fixed(size) => Message::new().int(1, *size),
            Dimension::Named(name) => Message::new().text(2, name),
        };
        shape.message(1, dimension)
    });
    let tensor = Message::new().int(1, data_type as i64).message(2, shape);
    Message::new()
        .text(1, name)
        .message(2, Message::new().message(1, tensor))
}

/// A size as ONNX writes it.
pub(super) fn signed(size: usize) -> i64 {
    // No array in memory is larger than `isize::MAX`.
    i64::try_from(size).unwrap_or(i64::MAX)
}
