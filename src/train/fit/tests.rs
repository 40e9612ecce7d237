//! Both tiers on questions whose words tell, and some whose words do not.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{cascade::ACCURACY_GIVEN, *};
use crate::{
    ids::CategoryId,
    router::{
        calibration::argmax,
        encoder::Reading,
        model::{CheapFeatures, Transformer},
    },
    train::labels::Labelled,
};

/// Questions whose words tell the category, and some whose words do not.
fn dataset(per_class: usize, categories: &[&str]) -> Dataset {
    let rows = (0..per_class).flat_map(|n| {
        categories.iter().map(move |category| {
            let hint = if n % 10 == 0 { "thing" } else { category };
            let text = format!(
                "question {} about a {hint} of size {}",
                n * 37 % 101,
                category.len() * 1000 + n
            );
            Labelled::from_text(&text, CategoryId::new(*category))
        })
    });
    Dataset::new(rows, 7)
}

/// Readings that tell all categories apart.
fn readings(dataset: &Dataset) -> Readings {
    let vectors = Array2::from_shape_fn((dataset.labels.len(), 8), |(row, at)| {
        let noise = ((row * 31 + at * 17) as f32).sin() * 0.2;
        f32::from(u8::from(dataset.labels[row] == at % 4)) + noise
    });
    Readings::Layers { vectors, width: 4 }
}

/// Readings that mistake one row in seven for the next class.
fn mistaken(dataset: &Dataset) -> Readings {
    let mut mistaken = dataset.clone();
    for (row, label) in mistaken.labels.iter_mut().enumerate() {
        *label += usize::from(row % 7 == 0);
    }
    readings(&mistaken)
}

/// Lexical features, and what a transformer read.
fn both(readings: Readings) -> Material {
    Material {
        readings: Some(readings),
        ..sparse()
    }
}

/// A fit that took as many steps as it was to take.
fn fitted_in_all_steps(dataset: &Dataset, material: &Material) -> Trained {
    let taken = AtomicU64::new(0);
    let step = || {
        taken.fetch_add(1, Ordering::Relaxed);
    };
    let trained = fit(dataset, material, None, &step).unwrap();
    assert_eq!(taken.into_inner(), steps(material));
    trained
}

#[test]
fn the_cheap_tier_settles_what_words_tell_and_the_full_one_the_rest() {
    let dataset = dataset(60, &["cooking", "sailing", OUT_OF_DOMAIN]);
    let material = both(readings(&dataset));
    let trained = fitted_in_all_steps(&dataset, &material);
    let (cheap, full) = (
        trained.cheap.unwrap().figures,
        trained.full.unwrap().figures,
    );
    assert!((0.85..0.97).contains(&cheap.accuracy), "{cheap:?}");
    assert!(full.accuracy > 0.98, "{full:?}");
    assert!(trained.cascade.figures.accuracy >= full.accuracy - ACCURACY_GIVEN - 1e-9);
    assert!(
        (0.5..0.95).contains(&trained.cascade.cheap_share),
        "{:?}",
        trained.cascade
    );
    assert_eq!(trained.held_back.len(), dataset.labels.len());
}

#[test]
fn without_strange_rows_the_detector_sees_every_question() {
    let dataset = dataset(30, &["cooking", "sailing"]);
    let material = both(readings(&dataset));
    let trained = fit(&dataset, &material, None, &|| ()).unwrap();
    assert_eq!(trained.cascade.settled_from, None);
    assert!(trained.model.full.unwrap().novelty.is_some());
}

#[test]
fn a_teacher_is_heard() {
    let dataset = dataset(40, &["cooking", "sailing"]);
    let problem = Problem::new(&dataset, None);
    let teacher = Array2::from_shape_fn((80, 2), |(_, class)| if class == 0 { 4.0 } else { 0.0 });
    let targets = problem.taught(teacher.view());
    let row = targets
        .probabilities
        .rows()
        .into_iter()
        .zip(&dataset.labels)
        .find(|(_, label)| **label == 1);
    let (row, _) = row.unwrap();
    assert!((row.sum() - 1.0).abs() < 1e-5 && row[0] > 0.4, "{row}");
    assert!(targets.is_softened && !problem.targets.is_softened);
}

/// What a teacher says that goes by `whisk` and by `keel` and by nothing else.
fn goes_by_two_words(dataset: &Dataset) -> Material {
    let logits = Array2::from_shape_fn((dataset.texts.len(), 2), |(row, class)| {
        f32::from(dataset.texts[row].contains(["whisk", "keel"][class])) * 6.0
    });
    let head = Transformer::Tuned {
        weights: vec![1.0, 0.0, 0.0, 1.0],
        bias: vec![0.0; 2],
    };
    Material {
        readings: Some(Readings::Tuned {
            teacher: Some(logits.clone()),
            logits,
            head,
        }),
        ..sparse()
    }
}

#[test]
fn an_excerpt_counts_for_what_a_teacher_says_of_it_and_for_nothing_else() {
    let long = "one question of more than ten words about some cooking of size";
    let rows = (0..12).map(|n| {
        let (text, category) = match n % 3 {
            0 => (format!("sailing {n}"), "sailing"),
            _ => (format!("{long} {n}"), "cooking"),
        };
        Labelled::from_text(&text, CategoryId::new(category))
    });
    let whole = Dataset::new(rows, 7);
    let dataset = whole.clone().with_excerpts(7);
    let (rows, all) = (whole.texts.len(), dataset.texts.len());
    assert!(all >= rows + 8, "{all}");
    let problem = Problem::new(&dataset, None);
    let of_whole = Problem::new(&whole, None);
    assert_eq!(problem.folds[..rows], of_whole.folds);
    assert_eq!(problem.targets.weights[..rows], of_whole.targets.weights);
    let teacher = Array2::from_shape_fn((all, 2), |(_, class)| [0.0, 6.0][class]);
    let targets = problem.taught(teacher.view());
    for excerpt in rows..all {
        let of = (0..rows).find(|row| dataset.questions[*row] == dataset.questions[excerpt]);
        let of = of.unwrap();
        assert_eq!(problem.folds[excerpt], problem.folds[of]);
        let times = targets.weights[of] / targets.weights[excerpt];
        assert!((times - 4.0).abs() < 1e-5, "{times}");
        assert!(targets.probabilities[[excerpt, 1]] > 0.9 && !targets.is_judge[excerpt]);
        assert!(targets.probabilities[[of, 1]] < 0.6 && targets.is_judge[of]);
    }
}

#[test]
fn of_excerpts_a_teacher_tells_which_words_it_goes_by() {
    let pairs = [
        ("cooking", "whisk", "kitchen"),
        ("sailing", "keel", "harbour"),
    ];
    let rows = (0..60).flat_map(|n| {
        pairs.map(|(category, goes_by, beside)| {
            let text = format!(
                "Tell me number {n} of what one says about a {goes_by} where it is, and what for, of size {n} in any {beside}"
            );
            Labelled::from_text(&text, CategoryId::new(category))
        })
    });
    let whole = Dataset::new(rows, 7);
    // How much of what is said of the one word is said of the other.
    let share_of_the_other = |dataset: &Dataset| {
        let model = fit(dataset, &goes_by_two_words(dataset), None, &|| ()).unwrap();
        let Model { lexicon, cheap, .. } = model.model;
        let (lexicon, head) = (lexicon.unwrap(), cheap.unwrap().head);
        let lead = |text: &str| {
            let logits = head.logits(&lexicon.features(text), &[]);
            logits[0] - logits[1]
        };
        lead("in any kitchen") / lead("about a whisk")
    };
    let without = share_of_the_other(&whole);
    let with = share_of_the_other(&whole.with_excerpts(7));
    assert!(without > 0.5 && with < 0.7 * without, "{without} {with}");
}

#[test]
fn with_out_of_domain_rows_no_detector_is_needed_and_such_rows_are_never_routed() {
    let dataset = dataset(60, &["cooking", "sailing", OUT_OF_DOMAIN]);
    let material = both(readings(&dataset));
    let trained = fit(&dataset, &material, None, &|| ()).unwrap();
    assert!(trained.model.full.unwrap().novelty.is_none());
    let refused = trained
        .held_back
        .iter()
        .filter(|(confidence, _)| *confidence == 0.0)
        .count();
    assert!((55..=65).contains(&refused), "{refused}");
}

/// The probability of each class, as the cheap tier says of a text.
fn said(model: &Model, text: &str) -> Vec<f32> {
    let features = CheapFeatures {
        sparse: model.lexicon.as_ref().unwrap().features(text),
        vector: Vec::new(),
    };
    model.cheap(&features).unwrap().probabilities
}

/// The likeliest class of a text.
fn likeliest<'m>(model: &'m Model, text: &str) -> &'m str {
    model.categories[argmax(&said(model, text))].as_str()
}

fn sparse() -> Material {
    Material {
        sparse: true,
        ..Material::default()
    }
}

#[test]
fn what_only_the_router_below_knows_is_out_of_domain() {
    let known = dataset(60, &["cooking", "sailing", "gardening", OUT_OF_DOMAIN]);
    let base = fit(&known, &sparse(), None, &|| ()).unwrap().model;
    let sailing = "question 5 about a sailing of size 1";
    assert_eq!(likeliest(&base, sailing), "sailing");
    let on_top = |own: &Dataset| {
        let seen = HashSet::new();
        let on_top = OnTop {
            model: &base,
            seen: &seen,
        };
        fit(own, &sparse(), Some(on_top), &|| ()).unwrap()
    };
    let alone = on_top(&dataset(12, &["cooking", "knitting"])).model;
    assert_ne!(likeliest(&alone, sailing), OUT_OF_DOMAIN, "nobody is left");
    let all = ["cooking", "knitting", "sailing", "gardening", OUT_OF_DOMAIN];
    let silent = ["sailing", "gardening"].map(CategoryId::new);
    let trained = on_top(&dataset(12, &all).with_silent(silent.into()));
    let accuracy = trained.cascade.figures.accuracy;
    assert!(
        accuracy > 0.7,
        "silent rows are right out of domain: {accuracy}"
    );
    let model = trained.model;
    assert_eq!(likeliest(&model, sailing), OUT_OF_DOMAIN);
    assert_eq!(likeliest(&model, "a cooking of size 3"), "cooking");
    assert_eq!(likeliest(&model, "a knitting of size 3"), "knitting");
    let silent = model
        .silent
        .iter()
        .map(|class| model.categories[*class].as_str());
    assert_eq!(silent.collect::<Vec<_>>(), ["gardening", "sailing"]);
}

#[test]
fn rows_that_the_router_below_has_seen_are_in_no_threshold_and_no_figure() {
    let known = dataset(60, &["cooking", "sailing", OUT_OF_DOMAIN]);
    let base = fit(&known, &sparse(), None, &|| ()).unwrap().model;
    let own = dataset(30, &["cooking", "knitting"]);
    let of_knitting = |row: &usize| own.categories[own.labels[*row]].as_str() == "knitting";
    let all = 0..own.labels.len();
    let seen = all.filter(|row| !of_knitting(row)).map(|row| own.keys[row]);
    let seen: HashSet<Key> = seen.collect();
    let on_top = OnTop {
        model: &base,
        seen: &seen,
    };
    let trained = fit(&own, &sparse(), Some(on_top), &|| ()).unwrap();
    assert_eq!((trained.seen, trained.held_back.len()), (30, 30));
    let right = trained.held_back.iter().filter(|(_, right)| *right).count();
    let accuracy = trained.cascade.figures.accuracy;
    assert!((accuracy - right as f64 / 30.0).abs() < 1e-9, "{accuracy}");
}

#[test]
fn one_row_of_a_class_does_not_keep_the_others_from_being_held_back() {
    let rows = dataset(30, &["cooking", "sailing"]);
    let of = |row: usize| {
        Labelled::from_text(&rows.texts[row], rows.categories[rows.labels[row]].clone())
    };
    let stranger = Labelled::from_text("turn off the lights", CategoryId::new(OUT_OF_DOMAIN));
    let all = (0..rows.labels.len()).map(of).chain([stranger]);
    let trained = fit(&Dataset::new(all, 7), &sparse(), None, &|| ()).unwrap();
    assert_eq!(trained.held_back.len(), rows.labels.len() + 1);
    let accuracy = trained.cascade.figures.accuracy;
    assert!(
        accuracy < 1.0,
        "its own row is judged by who has not seen it: {accuracy}"
    );
    let alone = dataset(1, &["cooking", "law"]);
    let trained = fit(&alone, &sparse(), None, &|| ()).unwrap();
    assert!(
        trained.held_back.is_empty(),
        "every row was seen by its judge"
    );
}

/// The same rows, most of them of a file of further ones.
fn mostly_further(dataset: Dataset) -> Dataset {
    let mut dataset = dataset;
    for (row, text) in dataset.texts.iter().enumerate() {
        let is_asked = text.len() % 4 == 0 || row % 6 == 0;
        dataset.origins[row] = Some(if is_asked { "asked" } else { "more" }.into());
    }
    dataset.with_further(&["more".to_owned()])
}

#[test]
fn further_rows_teach_the_cheap_tier_and_are_not_what_it_is_measured_on() {
    let dataset = mostly_further(dataset(60, &["cooking", "sailing", OUT_OF_DOMAIN]));
    let asked = dataset.asked();
    assert!((20..120).contains(&asked.len()), "{}", asked.len());
    let material = both(readings(&dataset));
    let trained = fitted_in_all_steps(&dataset, &material);
    assert_eq!(trained.held_back.len(), asked.len());
    assert_eq!(trained.probabilities.nrows(), asked.len());
    assert_eq!(trained.by_file.len(), 0, "one file has all that is asked");
    let of_asked = dataset.of(&asked);
    let alone = fit(&of_asked, &material.of(&asked), None, &|| ()).unwrap();
    let words = |trained: &Trained| {
        let lexicon = trained.model.lexicon.as_ref().unwrap();
        lexicon.idf().iter().filter(|idf| **idf > 0.0).count()
    };
    assert!(words(&trained) > words(&alone), "it knows more words");
}

#[test]
fn where_every_row_was_seen_both_tiers_are_heard() {
    let few = dataset(1, &["cooking", "law"]);
    let material = Material {
        sparse: true,
        vectors: None,
        readings: Some(readings(&few)),
    };
    let model = fit(&few, &material, None, &|| ()).unwrap().model;
    let weight = model.full.unwrap().cheap_weight;
    assert!(weight > 0.0 && weight.is_finite(), "{weight}");
}

/// What a transformer would have read in a row.
fn reading(readings: &Readings, row: usize) -> Reading {
    let Readings::Layers { vectors, width } = readings else {
        unreachable!("these are layers");
    };
    let layers = vectors.row(row).to_vec();
    Reading {
        vector: Vec::new(),
        layers: layers.chunks(*width).map(<[f32]>::to_vec).collect(),
        pieces: 1,
    }
}

/// What a model says of rows at run time, by the full tier.
fn at_run_time(model: &Model, dataset: &Dataset, readings: &Readings) -> Vec<Vec<f32>> {
    let of_row = |(row, text): (usize, &String)| {
        let features = CheapFeatures {
            sparse: model.lexicon.as_ref().unwrap().features(text),
            vector: Vec::new(),
        };
        let cheap = model.cheap(&features).unwrap();
        let full = model.full(Some(&cheap), &reading(readings, row)).unwrap();
        full.probabilities
    };
    dataset.texts.iter().enumerate().map(of_row).collect()
}

/// The share of rows whose likeliest class is their label.
fn right(said: &[Vec<f32>], dataset: &Dataset) -> f64 {
    let right = said.iter().zip(&dataset.labels);
    let right = right.filter(|(said, label)| argmax(said) == **label);
    right.count() as f64 / dataset.labels.len() as f64
}

#[test]
fn at_run_time_the_full_tier_says_what_it_was_fitted_to_say() {
    let known = dataset(60, &["cooking", "sailing", OUT_OF_DOMAIN]);
    let material = both(mistaken(&known));
    let trained = fit(&known, &material, None, &|| ()).unwrap();
    let full = trained.model.full.as_ref().unwrap();
    assert!(full.cheap_weight > 0.0, "{}", full.cheap_weight);
    let held_back = trained.full.unwrap().figures;
    let said_then = at_run_time(&trained.model, &known, &mistaken(&known));
    let accuracy = right(&said_then, &known);
    assert!(accuracy >= held_back.accuracy, "{accuracy} {held_back:?}");
    let said_now = super::said(&trained.model, &known, &material);
    for (now, then) in said_now.rows().into_iter().zip(&said_then) {
        let differ = now.iter().zip(then).map(|(now, then)| (now - then).abs());
        assert!(differ.fold(0.0, f32::max) < 1e-5, "{now} {then:?}");
    }

    let own = dataset(30, &["cooking", "sailing", OUT_OF_DOMAIN, "knitting"]);
    let seen = HashSet::new();
    let on_top = OnTop {
        model: &trained.model,
        seen: &seen,
    };
    let above = fit(&own, &both(readings(&own)), Some(on_top), &|| ()).unwrap();
    let weight = above.model.full.as_ref().unwrap().cheap_weight;
    assert!(
        (weight - full.cheap_weight).abs() < f32::EPSILON,
        "a router on top keeps the weight: {weight}"
    );
    let accuracy = right(&at_run_time(&above.model, &own, &readings(&own)), &own);
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn guessed_rows_teach_both_tiers_and_nothing_is_measured_on_them() {
    let asked = dataset(40, &["cooking", "sailing"]);
    let without = fit(&asked, &both(readings(&asked)), None, &|| ()).unwrap();
    let of_keels = |trained: &Trained| said(&trained.model, "keel mast");
    let unlikely = 1 - argmax(&of_keels(&without));
    let texts = (0..40).map(|at| format!("what of a keel and a mast of size {at}"));
    let with = asked.clone().with_unlabelled(texts, 7);
    let guesses: Vec<(usize, usize)> = with
        .of_role(Role::Unlabelled)
        .into_iter()
        .map(|row| (row, unlikely))
        .collect();
    assert_eq!(guesses.len(), 40);
    let with = with.with_guesses(&guesses);
    let trained = fitted_in_all_steps(&with, &both(readings(&with)));
    assert_eq!(trained.held_back.len(), asked.labels.len());
    assert_eq!(trained.probabilities.nrows(), asked.labels.len());
    let now = of_keels(&trained)[unlikely];
    assert!(now > 0.9, "{now}");
    let [trained, without] = [trained, without].map(|it| it.model.full.unwrap());
    assert_ne!(trained.tier.head, without.tier.head);
    let sizes = [&trained, &without].map(|full| full.novelty.is_some());
    assert_eq!(sizes, [true; 2]);
    assert_eq!(trained.novelty, without.novelty, "it is of what is asked");
}

#[test]
fn guesses_make_no_class_more_frequent() {
    let asked = dataset(40, &["cooking", "sailing"]);
    let texts = (0..10).map(|at| format!("what of a keel and a mast of size {at}"));
    let with = asked.clone().with_unlabelled(texts, 7);
    let guessed = with.of_role(Role::Unlabelled);
    let guesses: Vec<(usize, usize)> = guessed.iter().map(|row| (*row, 1)).collect();
    let with = with.with_guesses(&guesses);
    let weights = |dataset: &Dataset| Problem::new(dataset, None).targets.weights;
    let (now, then) = (weights(&with), weights(&asked));
    for class in [0, 1] {
        let of_class = |weights: &[f32]| -> f32 {
            let rows = weights.iter().zip(&with.labels);
            let of_class = rows.filter(|(_, label)| **label == class);
            of_class.map(|(weight, _)| weight).sum()
        };
        let [now, then] = [of_class(&now), of_class(&then)];
        assert!((now - then).abs() < 1e-3, "{class}: {now} {then}");
    }
    let sailing = with.labels.iter().position(|label| *label == 1).unwrap();
    assert!(now[sailing] < 0.9 * then[sailing]);
    assert!(
        guessed
            .iter()
            .all(|row| (now[*row] - now[sailing]).abs() < 1e-6)
    );
}
