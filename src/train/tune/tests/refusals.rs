//! What is not tuned, and what is said of it.

use super::*;

#[test]
fn work_on_something_else_and_damaged_work_are_refused() {
    let mut toy = Toy::new();
    toy.tune_and_cut(4);
    toy.job.options.rank = 5;
    let error = toy.tune().unwrap_err();
    assert!(matches!(error, TuneError::OtherWork { .. }) && error.is_usage());
    toy.job.options.rank = 4;
    let row = toy.job.rows.pop().unwrap();
    assert!(matches!(toy.tune(), Err(TuneError::OtherWork { .. })));
    toy.job.rows.push(row);
    let state = toy.job.out.join(WORKPLACE);
    let state = state.join("fit-0-0.state.safetensors");
    let whole = fs::read(&state).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped, &whole[..whole.len() - 1], &whole[..9]] {
        fs::write(&state, damaged).unwrap();
        let error = toy.tune().unwrap_err();
        assert!(matches!(error, TuneError::Damaged { .. }), "{error}");
    }
    fs::write(&state, whole).unwrap();
    // A fold that is done belongs to its job, whatever the folder says.
    toy.tune_and_cut(10);
    fs::remove_file(toy.job.out.join(WORKPLACE).join("job")).unwrap();
    toy.job.options.seed += 1;
    assert!(matches!(toy.tune(), Err(TuneError::OtherWork { .. })));
    toy.job.options.seed -= 1;
    fs::remove_file(toy.job.out.join(WORKPLACE).join("job")).unwrap();
    toy.tune().unwrap();
}

#[test]
fn what_cannot_be_tuned_is_refused_with_what_to_do() {
    let refused = |change: &dyn Fn(&mut Job)| {
        let mut toy = Toy::new();
        change(&mut toy.job);
        toy.tune().unwrap_err().to_string()
    };
    let one = refused(&|job| job.rows.retain(|row| row.category.as_str() == "coding"));
    assert!(
        one.contains("coding") && one.contains("two categories"),
        "{one}"
    );
    assert!(refused(&|job| job.options.epochs = 0).contains("epoch"));
    assert!(refused(&|job| job.options.folds = 1).contains("2 at least"));
    assert!(refused(&|job| job.options.rank = 0).contains("rank"));
    assert!(refused(&|job| job.options.average = 0).contains("1 at least"));
    assert!(refused(&|job| job.options.average = 2).contains("--all-weights"));
    assert!(refused(&|job| job.model = Path::new("absent").into()).contains("absent/config.json"));
    #[cfg(not(feature = "cuda"))]
    assert!(refused(&|job| job.processor = Processor::Cuda).contains("--features cuda"));
    let half = refused(&|job| {
        let path = job.model.join("model.safetensors");
        let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        tensors.remove("encoder.layer.1.output.dense.bias");
        candle_core::safetensors::save(&tensors, path).unwrap();
    });
    assert!(half.contains("encoder.layer.1.output.dense.bias"), "{half}");
}
