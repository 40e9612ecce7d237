//! Numbers of candle's tensors as slices, and loops over them on all cores. A result never depends on how many those
//! are: the pieces that a loop is cut into do not.

use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

/// Numbers that one core takes at a time: some microseconds of work.
pub(super) const BLOCK: usize = 8 * 1024;

/// The numbers of an argument of a custom operation.
pub(super) fn of<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("the argument is not contiguous"),
    }
}

/// A tensor of `shape` made from the numbers of `tensors`, all on the CPU.
pub(super) fn make<const N: usize>(
    tensors: [&Tensor; N],
    shape: impl Into<Shape>,
    make: impl FnOnce([&[f32]; N]) -> Vec<f32>,
) -> Result<Tensor> {
    let read = tensors.map(Tensor::storage_and_layout);
    let mut slices = [&[][..]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&read) {
        *slice = match &**storage {
            Storage::Cpu(storage) => of(storage, layout)?,
            _ => bail!("the tensor is not on the CPU"),
        };
    }
    Tensor::from_vec(make(slices), shape, &candle_core::Device::Cpu)
}

/// `count` numbers, written in pieces of `piece`; `write` gets the number of the first in each.
pub(super) fn fill(
    count: usize,
    piece: usize,
    write: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut numbers = vec![0.0; count];
    if count <= piece {
        // Waking another core would take longer.
        write(0, &mut numbers);
        return numbers;
    }
    numbers
        .par_chunks_mut(piece.max(1))
        .enumerate()
        .for_each(|(at, chunk)| write(at * piece, chunk));
    numbers
}

/// The same for rows of `width`: `write` gets the number of a row, and the row.
pub(super) fn fill_rows(
    count: usize,
    width: usize,
    write: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let rows_at_once = (BLOCK / width.max(1)).max(1);
    fill(count, rows_at_once * width, |first, chunk| {
        for (at, row) in chunk.chunks_mut(width).enumerate() {
            write(first / width + at, row);
        }
    })
}

/// Sums over `rows`: `add` adds what the row of this number gives to the `width` sums.
pub(super) fn sum_rows(
    rows: usize,
    width: usize,
    add: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let rows_at_once = (BLOCK / width.max(1)).max(1);
    let partial: Vec<Vec<f32>> = (0..rows.div_ceil(rows_at_once))
        .into_par_iter()
        .map(|block| {
            let mut sums = vec![0.0; width];
            let first = block * rows_at_once;
            (first..rows.min(first + rows_at_once)).for_each(|row| add(row, &mut sums));
            sums
        })
        .collect();
    let mut sums = vec![0.0; width];
    for part in partial {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part;
        }
    }
    sums
}
