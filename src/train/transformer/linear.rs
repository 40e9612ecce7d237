//! A linear map that may carry a change of low rank: `W' = W + s·B·A` (`LoRA`; Hu et al. 2021).
//!
//! The change is merged into the weight once a step, so that a forward and a backward pass each cost one product with
//! the weight. The gradients of `A` and `B` come from thin products, and the frozen weight's own is never made: a third
//! of the work of a pass saved.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp3, Device, Layout, Result, Shape, Tensor,
    backend::BackendStorage,
};

use super::ops;
use crate::train::base::{Base, BaseError};

/// `x ↦ x·W'ᵀ + bias`.
#[derive(Clone)]
pub(crate) struct Linear {
    name: String,
    /// As it was loaded: out × in.
    frozen: Tensor,
    /// With the change taken in, as far as [`Linear::merge`] has seen it.
    weight: Tensor,
    change: Option<LowRank>,
    bias: Tensor,
}

/// A change of low rank.
#[derive(Clone)]
pub(crate) struct LowRank {
    /// rank × in.
    pub(crate) a: Tensor,
    /// out × rank.
    pub(crate) b: Tensor,
    /// `s`.
    pub(crate) scale: f64,
}

impl Linear {
    pub(super) fn load(
        base: &Base,
        name: &str,
        (outputs, inputs): (usize, usize),
        device: &Device,
    ) -> std::result::Result<Self, BaseError> {
        let weight = base.tensor(&format!("{name}.weight"), &[outputs, inputs], device)?;
        Ok(Self {
            name: name.to_owned(),
            frozen: weight.clone(),
            weight,
            change: None,
            bias: base.tensor(&format!("{name}.bias"), &[outputs], device)?,
        })
    }

    /// The weight's name in the weights' file.
    pub(crate) fn weight_name(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Outputs and inputs.
    pub(crate) fn dims(&self) -> Result<(usize, usize)> {
        self.frozen.dims2()
    }

    /// Gives the map a change, which counts from the next [`Self::merge`] on.
    pub(crate) fn adapt(&mut self, change: LowRank) {
        self.change = Some(change);
    }

    pub(super) fn merge(&mut self) -> Result<()> {
        if let Some(LowRank { a, b, scale }) = &self.change {
            let change = b.detach().matmul(&a.detach())?.affine(*scale, 0.0)?;
            self.weight = (&self.frozen + change)?;
        }
        Ok(())
    }

    /// As it is without a change.
    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Gives the map another weight, such as a variable.
    pub(crate) fn set_weight(&mut self, weight: Tensor) {
        self.weight = weight;
    }

    pub(super) fn bias_mut(&mut self) -> (String, &mut Tensor) {
        (format!("{}.bias", self.name), &mut self.bias)
    }

    /// `x`: rows × in.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = match &self.change {
            None => x.matmul(&self.weight.t()?)?,
            Some(LowRank { a, b, scale }) => x.apply_op3(
                a,
                b,
                Adapted {
                    weight: self.weight.clone(),
                    scale: *scale,
                },
            )?,
        };
        ops::add_bias(&product, &self.bias)
    }
}

/// The product `x·W'ᵀ` as a function of `x`, `A` and `B`.
struct Adapted {
    weight: Tensor,
    scale: f64,
}

impl Adapted {
    fn product<S: BackendStorage>(
        &self,
        x: &S,
        layout: &Layout,
        weight: &S,
        weight_layout: &Layout,
    ) -> Result<(S, Shape)> {
        let (rows, inputs) = layout.shape().dims2()?;
        let (outputs, _) = weight_layout.shape().dims2()?;
        let transposed = weight_layout.transpose(0, 1)?;
        let product = x.matmul(weight, (1, rows, outputs, inputs), layout, &transposed)?;
        Ok((product, (rows, outputs).into()))
    }
}

impl CustomOp3 for Adapted {
    fn name(&self) -> &'static str {
        "adapted-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weight, weight_layout) = self.weight.storage_and_layout();
        match &*weight {
            candle_core::Storage::Cpu(weight) => self.product(x, layout, weight, weight_layout),
            _ => candle_core::bail!("the weight is not on the CPU"),
        }
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (weight, weight_layout) = self.weight.storage_and_layout();
        match &*weight {
            candle_core::Storage::Cuda(weight) => self.product(x, layout, weight, weight_layout),
            _ => candle_core::bail!("the weight is not on the GPU"),
        }
    }

    /// With `g` the gradient of the product: `g·W'` for `x`, `s·(g·B)ᵀ·x` for `A`, `s·gᵀ·(x·Aᵀ)` for `B`.
    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x, a, b) = (x.detach(), a.detach(), b.detach());
        let for_x = gradient.matmul(&self.weight)?;
        let thin = gradient.matmul(&b)?;
        let for_a = thin.t()?.matmul(&x)?.affine(self.scale, 0.0)?;
        let thin = x.matmul(&a.t()?)?;
        let for_b = gradient.t()?.matmul(&thin)?.affine(self.scale, 0.0)?;
        Ok((Some(for_x), Some(for_a), Some(for_b)))
    }
}
