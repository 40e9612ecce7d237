//! Who answers what no category covers.

use super::*;

#[test]
fn the_default_expert_has_fallbacks_of_its_own() {
    let config = MappingConfig {
        default_fallbacks: vec![ExpertId::new("middle"), ExpertId::new("large")],
        ..config()
    };
    let id = mapping(None).id().clone();
    let mapping = Mapping::new(config, &experts(), None);
    let listed = |category: Option<&str>| {
        let category = category.map(CategoryId::new);
        let listed = mapping.listed(category.as_ref(), Today::default());
        listed.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for category in [None, Some("legal")] {
        assert_eq!(listed(category), ["small", "middle", "large"]);
    }
    assert_eq!(listed(Some("coding")), ["large", "middle", "small"]);
    assert_ne!(*mapping.id(), id);
}
