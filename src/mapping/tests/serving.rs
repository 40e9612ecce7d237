//! Whether a category's own experts can answer.

use super::*;

#[test]
fn a_category_is_served_by_its_own_experts_alone() {
    let mapping = mapping(None);
    let serves = |category, demand: &Demand| {
        mapping.serves(&CategoryId::new(category), demand, Today::default(), &[])
    };
    let (easy, long) = (
        demand(10, &[Capability::Chat]),
        demand(9_000, &[Capability::Chat]),
    );
    assert!(serves("coding", &long) && serves("legal", &easy));
    assert!(!serves("legal", &long), "the default expert holds less");
    let resting = ["small", "large"].map(|expert| Resting {
        expert: ExpertId::new(expert),
        retry_in: Duration::from_secs(9),
    });
    let today = Today::default();
    let awake = |category| mapping.serves(&CategoryId::new(category), &easy, today, &resting);
    assert!(!awake("legal"), "its only expert is left alone");
    assert!(awake("coding"), "another of its experts is not");
}
