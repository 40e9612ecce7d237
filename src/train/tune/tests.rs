//! Tuning as a whole, on a tiny model and a toy task.

mod refusals;

use std::{fs, path::Path, sync::Barrier, thread};

use candle_core::{Device, Tensor};
use candle_transformers::models::bert::{BertModel, Config};
use tempfile::TempDir;

use super::{
    checkpoint::Tensors,
    model::{Model, Parameter},
    scorer::Scorer,
    *,
};
use crate::{
    router::encoder::adapter::Adapter,
    train::{
        seed::normals,
        transformer::{Batch, Noise, Transformer},
    },
};

/// A tiny model, rows for it, and a place to write to.
struct Toy {
    _folder: TempDir,
    job: Job,
}

impl Toy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("base");
        tiny::write(&model);
        let job = Job {
            model,
            rows: rows(),
            out: folder.path().join("out"),
            options: Options {
                epochs: 6,
                rank: 4,
                folds: 2,
                seed: 11,
                ..Options::default()
            },
            processor: Processor::Cpu,
        };
        Self {
            _folder: folder,
            job,
        }
    }

    /// All weights are tuned, twice, and averaged.
    fn averaged() -> Self {
        let mut toy = Self::new();
        toy.job.options.all_weights = true;
        toy.job.options.average = 2;
        toy
    }

    fn out(&self, name: &str) -> Vec<u8> {
        fs::read(self.job.out.join(name)).unwrap()
    }

    fn tune(&self) -> Result<Report, TuneError> {
        tune(&self.job, &mut |_| ControlFlow::Continue(()))
    }

    /// Tunes until `steps` batches have been done.
    fn tune_and_cut(&self, steps: usize) {
        let mut done = 0;
        let cut = tune(&self.job, &mut |_| {
            done += 1;
            if done == steps {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert!(matches!(cut, Err(TuneError::Interrupted)), "{cut:?}");
    }
}

/// Questions of two words about one of two topics.
fn rows() -> Vec<Labelled> {
    let (code, food) = tiny::WORDS[..12].split_at(6);
    let mut rows = Vec::new();
    for one in 0..6 {
        for other in 0..6 {
            for (topic, category) in [(code, "coding"), (food, "cooking")] {
                let text = format!("{} {}s", topic[one], topic[other]);
                rows.push(Labelled::from_text(&text, CategoryId::new(category)));
            }
        }
    }
    rows
}

#[test]
fn tuning_learns_and_scores_every_row_by_a_model_that_has_not_seen_it() {
    let mut toy = Toy::new();
    toy.job.options.epochs = 25;
    let report = toy.tune().unwrap();
    let losses = &report.fits[2].losses;
    assert_eq!((report.fits.len(), losses.len()), (3, 25));
    assert!(losses[24] < losses[0] * 0.9, "{losses:?}");
    assert!(report.held_back_accuracy.unwrap() > 0.9, "{report:?}");
    assert_eq!(report.fits[0].rows + report.fits[1].rows, 72);
    let held_back = toy.out("held_back.safetensors");
    let held_back = candle_core::safetensors::load_buffer(&held_back, &Device::Cpu).unwrap();
    assert_eq!(held_back["logits"].dims(), [72, 2]);
    assert_eq!(held_back["keys"].dims(), [72, 16]);
    let key = &Sha256::digest(&toy.job.rows[5].query.text)[..16];
    assert_eq!(
        held_back["keys"].get(5).unwrap().to_vec1::<u8>().unwrap(),
        key
    );
    let written: Report = serde_json::from_slice(&toy.out("tuned.json")).unwrap();
    assert_eq!(written.model_sha256, report.model_sha256);
    assert!(!toy.job.out.join(WORKPLACE).exists());
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let files = [
        "model.safetensors",
        "adapter.safetensors",
        "held_back.safetensors",
    ];
    let (one, same, mut other) = (Toy::new(), Toy::new(), Toy::new());
    other.job.options.seed = 12;
    for toy in [&one, &same, &other] {
        toy.tune().unwrap();
    }
    for file in files {
        assert!(one.out(file) == same.out(file), "{file} differs");
        assert!(one.out(file) != other.out(file), "{file} is the same");
    }
}

#[test]
fn work_that_was_cut_ends_in_the_same_bytes() {
    let (whole, cut) = (Toy::new(), Toy::new());
    whole.tune().unwrap();
    // In the first fold, at the end of an epoch of the second, and in the final fit (2 × 12 steps, then 18).
    for steps in [5, 7, 2, 13, 4] {
        cut.tune_and_cut(steps);
    }
    let mut steps = 0;
    tune(&cut.job, &mut |_| {
        steps += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(steps, 2 * 12 + 18 - 31, "the rest alone is done");
    for file in [
        "model.safetensors",
        "adapter.safetensors",
        "held_back.safetensors",
    ] {
        assert!(whole.out(file) == cut.out(file), "{file} differs");
    }
}

#[test]
fn batches_that_are_read_twice_are_learnt_and_go_on_where_they_were_cut() {
    let twice = || {
        let mut toy = Toy::new();
        toy.job.options.twice = true;
        toy.job.options.epochs = 25;
        toy
    };
    let whole = twice();
    let report = whole.tune().unwrap();
    assert!(report.options.twice);
    let accuracy = report.held_back_accuracy.unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    let mut once = twice();
    once.job.options.twice = false;
    once.tune().unwrap();
    assert_ne!(
        whole.out("adapter.safetensors"),
        once.out("adapter.safetensors")
    );
    let cut = twice();
    cut.tune_and_cut(7);
    cut.tune().unwrap();
    assert_eq!(
        whole.out("adapter.safetensors"),
        cut.out("adapter.safetensors")
    );
}

#[test]
fn a_state_is_kept_as_often_as_asked_for() {
    let toy = Toy::new();
    let state = |fit| {
        let name = format!("fit-{fit}-0.state.safetensors");
        toy.job.out.join(WORKPLACE).join(name)
    };
    let mut kept = Vec::new();
    tune_with(&toy.job, Duration::ZERO, &mut |progress| {
        if progress.step == 3 {
            kept.push(state(progress.fit).exists());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(kept, [true; 3]);
}

#[test]
fn the_adapter_and_the_base_make_the_written_weights_to_the_bit() {
    for toy in [Toy::new(), Toy::averaged()] {
        toy.tune().unwrap();
        let adapter = Adapter::read(&toy.job.out.join("adapter.safetensors")).unwrap();
        let base = fs::read(toy.job.model.join("model.safetensors")).unwrap();
        assert_eq!(
            adapter.about().base_sha256,
            hex::encode(Sha256::digest(&base))
        );
        let base = candle_core::safetensors::load_buffer(&base, &Device::Cpu).unwrap();
        let tuned = toy.out("model.safetensors");
        let tuned = candle_core::safetensors::load_buffer(&tuned, &Device::Cpu).unwrap();
        assert_eq!(base.len(), tuned.len());
        for (name, before) in &base {
            let mut values: Vec<f32> = before.flatten_all().unwrap().to_vec1().unwrap();
            adapter.apply(name, before.dims(), &mut values).unwrap();
            let written: Vec<f32> = tuned[name].flatten_all().unwrap().to_vec1().unwrap();
            assert!(written == values, "{name}");
            let is_trained = !name.contains("_embeddings");
            assert_eq!(adapter.changes(name), is_trained, "{name}");
        }
    }
}

#[test]
fn all_weights_learn_and_their_average_scores_the_rows_held_back() {
    let mut toy = Toy::averaged();
    toy.job.options.epochs = 60;
    let mut members = Vec::new();
    let report = tune(&toy.job, &mut |progress| {
        members.push((progress.fit, progress.member));
        ControlFlow::Continue(())
    });
    let report = report.unwrap();
    members.dedup();
    assert_eq!(members, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    let accuracy = report.held_back_accuracy.unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    let of_four_bits = toy.out("adapter.safetensors");
    toy.job.options.bits = Bits::Two;
    toy.tune().unwrap();
    let saved = of_four_bits.len() - toy.out("adapter.safetensors").len();
    // A quarter of a byte for each number of the linear maps.
    let numbers = tiny::LAYERS * (4 * tiny::HIDDEN * tiny::HIDDEN + 2 * tiny::HIDDEN * 24);
    assert!(saved.abs_diff(numbers / 4) < 200, "{saved} {numbers}");
}

#[test]
fn work_on_an_average_that_was_cut_ends_in_the_same_bytes() {
    let (whole, cut) = (Toy::averaged(), Toy::averaged());
    whole.tune().unwrap();
    for steps in [5, 9, 13, 20] {
        cut.tune_and_cut(steps);
    }
    cut.tune().unwrap();
    for file in ["adapter.safetensors", "held_back.safetensors"] {
        assert!(whole.out(file) == cut.out(file), "{file} differs");
    }
    let mut single = Toy::averaged();
    single.job.options.average = 1;
    single.tune().unwrap();
    let file = "adapter.safetensors";
    assert!(whole.out(file) != single.out(file), "nothing was averaged");
}

#[test]
fn processes_share_the_work_and_give_the_same_bytes() {
    let (alone, shared) = (Toy::averaged(), Toy::averaged());
    alone.tune().unwrap();
    let both_began = Barrier::new(2);
    let pieces = || {
        let mut pieces = Vec::new();
        let report = tune(&shared.job, &mut |progress| {
            if pieces.is_empty() {
                both_began.wait();
            }
            if progress.step == 1 {
                pieces.push((progress.fit, progress.member));
            }
            ControlFlow::Continue(())
        });
        (report.unwrap(), pieces)
    };
    let (one, other) = thread::scope(|scope| {
        let [one, other] = [scope.spawn(pieces), scope.spawn(pieces)];
        (one.join().unwrap(), other.join().unwrap())
    });
    let mut all = [one.1, other.1].concat();
    all.sort_unstable();
    let once = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)];
    assert_eq!(all, once, "each is made by one of them");
    assert_eq!(one.0.model_sha256, other.0.model_sha256);
    for file in ["adapter.safetensors", "held_back.safetensors", "model.onnx"] {
        assert!(alone.out(file) == shared.out(file), "{file} differs");
    }
}

#[test]
fn what_is_written_scores_as_what_was_tuned() {
    let toy = Toy::new();
    let base = Base::read(&toy.job.model).unwrap();
    let dataset = Dataset::new(&base, &toy.job.rows).unwrap();
    let rows: Vec<usize> = (0..20).collect();
    let texts: Vec<&[u32]> = rows
        .iter()
        .map(|row| &dataset.rows[*row].pieces[..])
        .collect();
    let mut model = displaced(&base, Change::LowRank(3));
    let expected = model.logits(&Batch::new(&texts)).unwrap();
    let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
    let outputs = Outputs {
        base: &base,
        dataset: &dataset,
        options: &toy.job.options,
    };
    let written = outputs.written(&parameters(&model)).unwrap();
    let report = FitReport {
        rows: 0,
        losses: Vec::new(),
        held_back_accuracy: None,
        seconds: 0.0,
    };
    outputs
        .write(&toy.job.out, (&written, report), &[])
        .unwrap();
    assert!(!toy.job.out.join("held_back.safetensors").exists());
    // The tuned folder is a base like any other.
    let tuned = Base::read(&toy.job.out).unwrap();
    let adapter = Adapter::read(&toy.job.out.join("adapter.safetensors")).unwrap();
    let scorer = Scorer::new(&tuned, adapter.head(), &Device::Cpu).unwrap();
    let logits = scorer.logits(&dataset, &rows).unwrap();
    assert_eq!(logits.len(), expected.len());
    for (logit, expected) in logits.iter().zip(&expected) {
        // Half precision keeps three digits.
        assert!((logit - expected).abs() < 0.01, "{logit} {expected}");
    }
}

fn parameters(model: &Model) -> Tensors {
    let named =
        |Parameter { name, variable, .. }: &Parameter| (name.clone(), variable.as_tensor().clone());
    model.parameters.iter().map(named).collect()
}

/// A model whose every parameter is away from where it starts: `B` starts at zero, where the gradient of `A` is zero
/// as well.
fn displaced(base: &Base, change: Change) -> Model {
    let model = Model::new(base, (change, 2), Seed::new(1), &Device::Cpu).unwrap();
    for (at, Parameter { variable, .. }) in model.parameters.iter().enumerate() {
        let noise = normals(Seed::new(at as u64), variable.elem_count(), 0.1);
        let noise = Tensor::from_vec(noise, variable.dims(), &Device::Cpu).unwrap();
        variable
            .set(&(variable.as_tensor() + noise).unwrap())
            .unwrap();
    }
    model
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let toy = Toy::new();
    let base = Base::read(&toy.job.model).unwrap();
    let dataset = Dataset::new(&base, &toy.job.rows).unwrap();
    for change in [Change::LowRank(3), Change::AllWeights] {
        gradients_are_slopes(displaced(&base, change), &dataset);
    }
}

fn gradients_are_slopes(mut model: Model, dataset: &Dataset) {
    let texts: Vec<&[u32]> = dataset.rows.iter().map(|row| &row.pieces[..]).collect();
    // Texts of different lengths, one of nothing but the frame.
    let batch = Batch::new(&[texts[0], &texts[1][..4], texts[2], texts[3], &texts[4][..2]]);
    let classes = [0, 1, 0, 1, 1];
    let noise = || Noise::dropout(0.1, Seed::new(3));
    let (_, gradients) = model.gradients(&batch, &classes, &mut noise()).unwrap();
    for at in 0..model.parameters.len() {
        let (name, variable) = {
            let parameter = &model.parameters[at];
            (parameter.name.clone(), parameter.variable.clone())
        };
        let direction = normals(Seed::new(900 + at as u64), variable.elem_count(), 1.0);
        let direction = Tensor::from_vec(direction, variable.dims(), &Device::Cpu).unwrap();
        let gradient = gradients.get(&variable).unwrap();
        let slope = (gradient * &direction).unwrap().sum_all().unwrap();
        let slope: f32 = slope.to_scalar().unwrap();
        let before = variable.as_tensor().copy().unwrap();
        let mut loss_at = |step: f64| {
            let moved = direction.affine(step, 0.0).unwrap();
            variable.set(&(&before + moved).unwrap()).unwrap();
            let loss = model.loss(&batch, &classes, &mut noise()).unwrap();
            f64::from(loss.to_scalar::<f32>().unwrap())
        };
        let step = 2e-3;
        let measured = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        variable.set(&before).unwrap();
        let gap = (f64::from(slope) - measured).abs();
        assert!(
            gap < 0.01 + 0.02 * measured.abs(),
            "{name}: {slope} {measured}"
        );
    }
}

#[test]
fn the_transformer_is_candles_bert() {
    let toy = Toy::new();
    let base = Base::read(&toy.job.model).unwrap();
    let config = fs::read(toy.job.model.join("config.json")).unwrap();
    let config: Config = serde_json::from_slice(&config).unwrap();
    let weights = candle_nn::VarBuilder::from_buffered_safetensors(
        base.weights.clone(),
        candle_core::DType::F32,
        &Device::Cpu,
    );
    let candles = BertModel::load(weights.unwrap(), &config).unwrap();
    let ids: [u32; 5] = [2, 7, 9, 12, 3];
    let other: [u32; 3] = [2, 10, 3];
    let batch = Batch::new(&[&ids, &other]);
    let ours = Transformer::load(&base, &Device::Cpu).unwrap();
    let ours = ours.forward(&batch, &mut Noise::none()).unwrap();
    for (row, ids) in [&ids[..], &other[..]].into_iter().enumerate() {
        let ids = Tensor::new(ids, &Device::Cpu)
            .unwrap()
            .unsqueeze(0)
            .unwrap();
        let kinds = ids.zeros_like().unwrap();
        let theirs = candles.forward(&ids, &kinds, None).unwrap();
        let theirs = theirs.mean(1).unwrap().squeeze(0).unwrap();
        let theirs: Vec<f32> = theirs.to_vec1().unwrap();
        let ours: Vec<f32> = ours.get(row).unwrap().to_vec1().unwrap();
        let length = theirs.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours - theirs / length).abs() < 1e-5, "{ours} {theirs}");
        }
    }
}
