//! Every kind of mistake in the routes, with its place and the way to mend it.

use super::house::House;

/// The mistakes of a house in which these routes are written too.
fn mistakes_with(routes: &[(&str, &str)]) -> Vec<String> {
    let house = House::new();
    for (file, text) in routes {
        house.write(&format!("routes/{file}"), text);
    }
    house.config("").mistakes()
}

#[test]
fn empty_texts() {
    assert_eq!(
        mistakes_with(&[
            ("a.yaml", "description: ''\nexamples: []\n"),
            ("b.yaml", "description: B\nexamples:\n"),
            ("c.yaml", "description: C\nexamples:\n  - One\n  - ' '\n"),
            ("d.yaml", "examples: [Two]\n"),
        ]),
        [
            "routes/a.yaml:1:1: `description` is empty; say what belongs to this category, so that a person could sort \
             questions",
            "routes/a.yaml:2:1: `examples` is empty; write at least one question that belongs to this category",
            "routes/b.yaml:2:1: `examples` has no value; give it a list, or leave it out",
            "routes/c.yaml:4:5: this example is blank; write a question, or take the entry out",
            "routes/d.yaml:1:1: the file lacks `description`; add it: what belongs to the category, in words that \
             would let a person sort questions",
        ]
    );
}

#[test]
fn unknown_keys_and_wrong_types() {
    assert_eq!(
        mistakes_with(&[(
            "a.yaml",
            "description: A\nexample: [One]\nexamples:\n  - 42\n  - What is this: a map?\n  - yes\n"
        )]),
        [
            "routes/a.yaml:2:1: unknown key `example`; did you mean `examples`?",
            "routes/a.yaml:4:5: an entry of `examples` must be text, not a number; put it in quotes",
            "routes/a.yaml:5:5: an entry of `examples` must be text, not a map; put it in quotes",
        ]
    );
}

#[test]
fn examples_that_are_here_twice_in_one_route_or_in_two() {
    assert_eq!(
        mistakes_with(&[
            ("a.yaml", "description: A\nexamples:\n  - One\n  - 'One '\n"),
            ("poem.yaml", "description: P\nexamples: [Fix my loop]\n"),
        ]),
        [
            "routes/a.yaml:4:5: this example is here twice; the first is at routes/a.yaml:3: keep one",
            "routes/poem.yaml:2:12: this example is here twice; the first is at routes/coding.yaml:2: keep one",
        ]
    );
}

#[test]
fn negatives_and_questions_of_no_category_are_checked_like_examples() {
    assert_eq!(
        mistakes_with(&[
            (
                "_other.yaml",
                "description: O\nexamples: [Fix my loop, '']\n"
            ),
            (
                "poem.yaml",
                "description: P\nexamples: [One]\nnegatives: [' ', One]\n"
            ),
        ]),
        [
            "routes/_other.yaml:2:25: this example is blank; write a question, or take the entry out",
            "routes/coding.yaml:2:12: this example is here twice; the first is at routes/_other.yaml:2: keep one",
            "routes/poem.yaml:3:13: this example is blank; write a question, or take the entry out",
            "routes/poem.yaml:3:18: this example is here twice; the first is at routes/poem.yaml:2: keep one",
        ]
    );
}

#[test]
fn nothing_can_be_mapped_to_the_file_of_questions_of_no_category() {
    let house = House::new();
    house.write("routes/_other.yaml", "description: O\nexamples: [Hello]\n");
    house.config("mapping: { default: general, _other: gpt }");
    assert_eq!(
        house.mistakes(),
        [
            "coterie.yaml:1:30: no route describes the category `_other`; known here: `coding`, `math`, `default`, \
             `file`, `budget`, `prefer`, `prefer_allowed`, `quality`, `cascade` and `explore`"
        ]
    );
}

#[test]
fn categories_that_are_here_twice() {
    assert_eq!(
        mistakes_with(&[
            ("coding.yml", "description: A\nexamples: [One]\n"),
            ("Math.yaml", "description: A\nexamples: [Two]\n"),
        ]),
        [
            "routes/Math.yaml:1:1: a category cannot be called `Math`; name the file with a to z, 0 to 9 and `_` alone",
            "routes/coding.yml:1:1: the category `coding` is described twice; `routes/coding.yaml` describes it too: \
             merge the two files",
            "routes/math.yaml:1:1: the category `math` is described twice; `routes/Math.yaml` describes it too: merge \
             the two files",
        ]
    );
}

#[test]
fn names_that_a_category_cannot_have() {
    assert_eq!(
        mistakes_with(&[("default.yaml", "description: A\nexamples: [One]\n")]),
        [
            "routes/default.yaml:1:1: a category cannot be called `default`: the name is reserved; name the file \
             otherwise"
        ]
    );
}

#[test]
fn too_few_routes() {
    let house = House::new();
    house.write("some/README.md", "not a route");
    let text = format!("'{}'", house.path("some").display());
    house.config(&format!(
        "mapping: {{ default: general }}\nrouter: {{ routes: {text} }}"
    ));
    let help = "a router chooses between two categories at least: write one YAML file for each";
    assert_eq!(
        house.mistakes(),
        [format!(
            "coterie.yaml:2:19: the folder `some` holds no route; {help}"
        )]
    );
    house.write("some/one.yml", "description: A\nexamples: [One]\n");
    assert_eq!(
        house.mistakes(),
        [format!(
            "coterie.yaml:2:19: the folder `some` holds one route only; {help}"
        )]
    );
}

#[test]
fn a_folder_that_is_not_there() {
    let house = House::new();
    house.config("mapping: { default: general, poetry: general }\nrouter: { routes: nowhere }");
    assert_eq!(
        house.mistakes(),
        [
            "coterie.yaml:2:19: the folder `nowhere` cannot be read: No such file or directory (os error 2); name the \
             folder of routes: one YAML file a category"
        ]
    );
}

#[test]
fn mistakes_of_all_files_come_at_once_in_their_order() {
    let house = House::new();
    house.write("routes/poem.yaml", "description: P\nexamples: []\n");
    house.write("routes/broken.yaml", "description: [\n");
    house.write("routes/latin.yaml", b"description: caf\xe9\n");
    house.config(
        "router: { misroute_mx: 1, routes: ROUTES }\nmapping: { default: nobody, broken: general }",
    );
    assert_eq!(
        house.mistakes(),
        [
            "coterie.yaml:1:11: unknown key `misroute_mx`; did you mean `misroute_max`?",
            "coterie.yaml:2:21: there is no expert `nobody`; known here: `general` and `gpt`",
            "routes/broken.yaml:1:14: the YAML cannot be read: unclosed bracket '['",
            "routes/latin.yaml:1:17: this is not UTF-8; save the file as UTF-8",
            "routes/poem.yaml:2:1: `examples` is empty; write at least one question that belongs to this category",
        ]
    );
}

#[test]
fn names_that_begin_with_an_underscore_are_no_categories() {
    let help =
        "of the names that begin with `_` there are `_other` and `_cards`, which are no categories";
    assert_eq!(
        mistakes_with(&[("_othr.yaml", "description: O\nexamples: [One]\n")]),
        [format!(
            "routes/_othr.yaml:1:1: a category cannot be called `_othr`; {help}"
        )]
    );
}
