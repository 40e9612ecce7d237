use super::*;

const WITHOUT: [Origin; 0] = [];

fn statement(origin: Origin, by: Option<&str>, category: &str, given_at_ms: i64) -> Statement {
    Statement {
        category: category.to_owned(),
        origin,
        given_by: by.map(str::to_owned),
        given_at_ms,
    }
}

fn outcome(id: &str, question: &str, statements: Vec<Statement>) -> Evidence {
    Evidence {
        outcome_id: id.to_owned(),
        asked_at_ms: id.len() as i64,
        conversation: None,
        question: question.to_owned(),
        routed_to: None,
        statements,
    }
}

fn categories() -> Vec<CategoryId> {
    ["legal", "math", "sql"].map(CategoryId::new).to_vec()
}

fn resolved(evidence: &[Evidence], without: &[Origin]) -> (Vec<Row>, Account) {
    let rules = Rules {
        without,
        categories: &categories(),
        client_share_max: CLIENT_SHARE_MAX,
    };
    resolve(evidence, &rules)
}

fn feedback(by: &str, category: &str, at: i64) -> Statement {
    statement(Origin::Feedback, Some(by), category, at)
}

#[test]
fn a_person_is_believed_before_a_judge_and_a_judge_before_a_client_whenever_they_speak() {
    let person = statement(Origin::Person, Some("ann"), "legal", 1);
    let judge = statement(Origin::Judge, Some("gpt v1"), "math", 2);
    let said = vec![
        person,
        judge,
        feedback("a", "sql", 3),
        feedback("b", "sql", 4),
    ];
    let evidence = [outcome("a", "Who owns it?", said)];
    let category = |without: &[Origin]| resolved(&evidence, without).0[0].category.to_string();
    assert_eq!(category(&[]), "legal");
    assert_eq!(category(&[Origin::Person]), "math");
    assert_eq!(category(&[Origin::Person, Origin::Judge]), "sql");
    let all = [Origin::Person, Origin::Judge, Origin::Feedback];
    let (rows, account) = resolved(&evidence, &all);
    assert_eq!((rows.len(), account.left_out), (0, 4));
}

#[test]
fn among_equals_the_majority_wins_then_the_last_word() {
    let dispute = |said: Vec<Statement>| {
        let (rows, account) = resolved(&[outcome("a", "Who owns it?", said)], &WITHOUT);
        (rows[0].category.to_string(), account.disputed)
    };
    let two_to_one = vec![
        feedback("a", "sql", 1),
        feedback("b", "sql", 2),
        feedback("c", "math", 3),
    ];
    assert_eq!(dispute(two_to_one), ("sql".to_owned(), 1));
    let one_each = vec![feedback("a", "sql", 1), feedback("b", "math", 2)];
    assert_eq!(dispute(one_each), ("math".to_owned(), 1));
    let insisting = vec![
        feedback("a", "sql", 1),
        feedback("a", "sql", 2),
        feedback("b", "math", 3),
    ];
    assert_eq!(
        dispute(insisting),
        ("math".to_owned(), 1),
        "one voice, however often it speaks"
    );
    let changed = vec![feedback("a", "sql", 1), feedback("a", "math", 2)];
    assert_eq!(dispute(changed).0, "math", "the last word of one source");
}

#[test]
fn a_text_is_one_row_in_the_conversation_in_which_it_was_asked_last() {
    let said = |category| vec![feedback("a", category, 1)];
    let mut later = outcome("aa", "  Who owns it? ", said("math"));
    later.conversation = Some("c2".to_owned());
    let (rows, account) = resolved(
        &[later, outcome("a", "Who owns it?", said("math"))],
        &WITHOUT,
    );
    assert_eq!((rows.len(), account.duplicates), (1, 1));
    assert_eq!(
        (rows[0].conversation.as_str(), rows[0].asked_at_ms),
        ("c2", 2)
    );
}

#[test]
fn what_no_category_has_is_left_out_and_out_of_domain_is_not() {
    let evidence = [
        outcome("a", "Who?", vec![feedback("a", "poetry", 1)]),
        outcome("b", "What?", vec![feedback("a", OUT_OF_DOMAIN, 1)]),
        outcome("c", "   ", vec![feedback("a", "math", 1)]),
    ];
    let (rows, account) = resolved(&evidence, &WITHOUT);
    assert_eq!((rows.len(), account.unknown_category), (1, 1));
    assert_eq!(rows[0].category.as_str(), OUT_OF_DOMAIN);
}

fn many(client: &str, rows: usize) -> Vec<Evidence> {
    (0..rows)
        .map(|at| {
            let question = format!("{client} asks {at}");
            let said = vec![feedback(client, "math", 1)];
            Evidence {
                asked_at_ms: at as i64,
                ..outcome(&format!("{client}{at}"), &question, said)
            }
        })
        .collect()
}

#[test]
fn no_client_gives_more_than_its_share_and_its_rows_are_spread_over_time() {
    let evidence = [
        many("a", 500),
        many("b", 30),
        many("c", 30),
        many("d", 30),
        many("e", 30),
    ]
    .concat();
    let (rows, account) = resolved(&evidence, &WITHOUT);
    let of_a: Vec<_> = rows
        .iter()
        .filter(|row| row.client.as_deref() == Some("a"))
        .collect();
    assert_eq!(
        of_a.len(),
        51,
        "three tenths of 171, one and a half even shares"
    );
    assert_eq!(account.capped, 449);
    let times: Vec<i64> = of_a.iter().map(|row| row.asked_at_ms).collect();
    assert!(
        times.windows(2).all(|two| two[1] - two[0] <= 10),
        "{times:?}"
    );
    assert!(times[0] < 10 && times[50] >= 490, "{times:?}");
    assert_eq!(rows.len(), 171);
}

#[test]
fn where_clients_are_few_they_share_as_they_do_up_to_three_quarters() {
    let (rows, account) = resolved(&[many("a", 500), many("b", 30)].concat(), &WITHOUT);
    assert_eq!((rows.len(), account.capped), (120, 410));
    let (rows, account) = resolved(&many("a", 500), &WITHOUT);
    assert_eq!((rows.len(), account.capped), (500, 0));
}

#[test]
fn the_cut_is_the_largest_that_keeps_everyone_within_the_share() {
    for given in [
        vec![9, 8, 7, 6, 5],
        vec![100, 1, 1, 1, 1, 1],
        vec![5; 5],
        vec![50, 50, 1, 1, 1],
    ] {
        let share = f64::max(0.25, share::EVEN_SHARES_MAX / given.len() as f64);
        let limit = share::allowed(&given, 0.25);
        let total = |limit: usize| given.iter().map(|it| (*it).min(limit)).sum::<usize>() as f64;
        let most = given.iter().copied().max().unwrap().min(limit);
        assert!(
            most as f64 <= share * total(limit) || limit == 1,
            "{given:?} {limit}"
        );
        let next = limit + 1;
        let more = given.iter().copied().max().unwrap().min(next);
        assert!(
            more == most || more as f64 > share * total(next),
            "{given:?} {limit}"
        );
    }
}

#[test]
fn the_order_of_the_evidence_means_nothing() {
    let mut evidence = [many("a", 40), many("b", 30), many("c", 5)].concat();
    evidence.push(outcome("x", "a asks 3", vec![feedback("b", "sql", 9)]));
    let one = resolved(&evidence, &WITHOUT);
    evidence.reverse();
    assert_eq!(one, resolved(&evidence, &WITHOUT));
}
