//! Each operation against the one that is made of candle's own, forward and backward.

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::train::seed::normals;

fn variable(seed: u64, dims: &[usize]) -> Var {
    let numbers = normals(Seed::new(seed), dims.iter().product(), 1.5);
    Var::from_tensor(&Tensor::from_vec(numbers, dims, &Device::Cpu).unwrap()).unwrap()
}

/// The largest difference between two tensors of one shape.
fn gap(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let gap = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    gap.max(0).unwrap().to_scalar().unwrap()
}

/// That two functions of the variables give the same, and the same gradients.
fn assert_same(
    variables: &[&Var],
    one: impl Fn() -> Result<Tensor>,
    other: impl Fn() -> Result<Tensor>,
) {
    let (one, other) = (one().unwrap(), other().unwrap());
    assert!(gap(&one, &other) < 2e-6, "{one} is not {other}");
    // A gradient that differs from place to place.
    let direction = variable(99, one.dims());
    let gradients = |result: &Tensor| {
        let sum = (result * direction.as_tensor()).unwrap().sum_all().unwrap();
        sum.backward().unwrap()
    };
    let (one, other) = (gradients(&one), gradients(&other));
    for variable in variables {
        let gap = gap(one.get(variable).unwrap(), other.get(variable).unwrap());
        assert!(gap < 2e-5, "gradients differ by {gap}");
    }
}

/// More rows than one core takes at a time.
const ROWS: usize = 1300;
const WIDTH: usize = 24;

#[test]
fn a_bias_is_added_to_every_row() {
    let (x, bias) = (variable(1, &[ROWS, WIDTH]), variable(2, &[WIDTH]));
    let direct = || x.broadcast_add(&bias);
    // The sum over all rows is long: its error is not that of a single number.
    let sum = |bias: &Tensor| (bias / 50.0).unwrap();
    let gradients = |result: Tensor| result.sum_all().unwrap().backward().unwrap();
    let fused = gradients(add_bias(&x, &bias).unwrap());
    assert!(gap(&add_bias(&x, &bias).unwrap(), &direct().unwrap()) < 1e-6);
    let composed = gradients(direct().unwrap());
    let [fused, composed] = [fused, composed].map(|store| sum(store.get(&bias).unwrap()));
    assert!(gap(&fused, &composed) < 1e-4);
}

#[test]
fn gelu_is_candles() {
    let x = variable(3, &[700, WIDTH]);
    assert_same(&[&x], || gelu(&x), || composed::gelu(&x));
}

#[test]
fn layer_norm_is_candles() {
    let (x, weight, bias) = (
        variable(4, &[40, WIDTH]),
        variable(5, &[WIDTH]),
        variable(6, &[WIDTH]),
    );
    assert_same(
        &[&x, &weight, &bias],
        || layer_norm(&x, &weight, &bias, 1e-12),
        || composed::layer_norm(&x, &weight, &bias, 1e-12),
    );
}

#[test]
fn softmax_is_candles_and_masks_the_padding() {
    let scores = variable(7, &[3, 2, 9, 9]);
    let lengths: Arc<[usize]> = [9, 1, 4].into();
    assert_same(
        &[&scores],
        || softmax(&scores, 0.7, &lengths),
        || composed::softmax(&scores, 0.7, &lengths),
    );
    let masked = softmax(&scores, 0.7, &lengths).unwrap().get(2).unwrap();
    let padding = masked.narrow(2, 4, 5).unwrap();
    assert_eq!(padding.sum_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
}

#[test]
fn dropout_drops_its_share_keeps_the_mean_and_masks_the_gradient_alike() {
    let x = Var::ones((500, 40), candle_core::DType::F32, &Device::Cpu).unwrap();
    let dropped = dropout(&x, 0.1, Seed::new(3)).unwrap();
    let numbers: Vec<f32> = dropped.flatten_all().unwrap().to_vec1().unwrap();
    let zeros = numbers.iter().filter(|x| **x == 0.0).count();
    assert!((1850..2150).contains(&zeros), "{zeros} of 20000");
    let mean = numbers.iter().sum::<f32>() / 20_000.0;
    assert!((mean - 1.0).abs() < 0.01, "{mean}");
    let gradients = dropped.sum_all().unwrap().backward().unwrap();
    assert_eq!(gap(gradients.get(&x).unwrap(), &dropped), 0.0);
    let other = dropout(&x, 0.1, Seed::new(4)).unwrap();
    assert!(gap(&dropped, &other) > 0.0);
}
