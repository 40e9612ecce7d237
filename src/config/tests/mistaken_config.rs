//! Every kind of mistake in `coterie.yaml`, with its place and the way to mend it.

use super::house::{House, assert_mistakes};

#[test]
fn unknown_keys() {
    assert_mistakes(
        "server: { lisen: 127.0.0.1:1 }\nsever: {}",
        &[
            "coterie.yaml:1:11: unknown key `lisen`; did you mean `listen`?",
            "coterie.yaml:2:1: unknown key `sever`; did you mean `server`?",
        ],
    );
    assert_mistakes(
        "server: { zebra: 1 }",
        &[
            "coterie.yaml:1:11: unknown key `zebra`; known here: `listen`, `keys`, `body_max`, `grace` and \
             `limits`",
        ],
    );
    assert_mistakes(
        "
experts:
  general: { kind: local, model: models/small, base_url: 'https://a.example.com' }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big, timeouts: { idel: 3s } }
",
        &[
            "coterie.yaml:2:48: unknown key `base_url`; known here: `kind`, `model`, `capabilities`, `params_b`, \
             `usd_in`, `usd_out`, `context_tokens`, `queue_max`, `timeouts`, `retries` and `breaker`",
            "coterie.yaml:3:88: unknown key `idel`; did you mean `idle`?",
        ],
    );
}

#[test]
fn keys_that_are_here_twice() {
    assert_mistakes(
        "server:\n  grace: 1s\n  grace: 2s\nstore: {}\nserver: {}",
        &[
            "coterie.yaml:3:3: `grace` is here twice; the first is on line 2: keep one of them",
            "coterie.yaml:5:1: `server` is here twice; the first is on line 1: keep one of them",
        ],
    );
}

#[test]
fn wrong_types() {
    assert_mistakes(
        "
server: { grace: 30, keys: [7], body_max: 1.5 }
store:
router: { misroute_max: [5], routes: ROUTES }
mapping: { default: [general], coding: true }
",
        &[
            "coterie.yaml:1:18: `grace` must be text such as `30s`, not a number",
            "coterie.yaml:1:29: an entry of `keys` must be a map with `name`, not a number",
            "coterie.yaml:1:43: `body_max` must be a whole number or text, not a number with a fraction",
            "coterie.yaml:2:1: `store` has no value; give it a map, or leave it out",
            "coterie.yaml:3:25: `misroute_max` must be a number or text, not a list",
            "coterie.yaml:4:21: `default` must be text or a map with `expert`, not a list",
            "coterie.yaml:4:40: `coding` must be text or a map with `expert`, not true or false",
        ],
    );
}

#[test]
fn values_out_of_range() {
    assert_mistakes(
        "
server: { body_max: 0 }
router: { misroute_max: 1.4, routes: ROUTES }
experts:
  general: { kind: local, model: models/small, params_b: 0, usd_in: -1 }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big, concurrent_max: 0 }
learning: { questions_per_false_alarm: 99 }
",
        &[
            "coterie.yaml:1:21: `body_max` is 0; it must be at least 1",
            "coterie.yaml:2:25: `misroute_max` is 1.4; it must be between 0 and 1",
            "coterie.yaml:4:58: `params_b` is 0; it must be greater than 0",
            "coterie.yaml:4:69: `usd_in` is -1; it must be at least 0",
            "coterie.yaml:5:92: `concurrent_max` is 0; it must be between 1 and 10000",
            "coterie.yaml:6:40: `questions_per_false_alarm` is 99; it must be between 100 and 4294967295",
        ],
    );
}

#[test]
fn a_bound_on_misrouted_questions_that_bounds_nothing_or_all() {
    for (written, shown) in [
        ("0", "0"),
        ("1", "1"),
        ("0%", "0%"),
        ("100%", "100%"),
        ("few", "few"),
        ("'5 %%'", "5 %%"),
    ] {
        let mistake = format!(
            "coterie.yaml:1:25: `misroute_max` is `{shown}`; write a share above 0 and below 1, such as `5%`"
        );
        assert_mistakes(
            &format!("router: {{ misroute_max: {written}, routes: ROUTES }}"),
            &[&mistake],
        );
    }
}

#[test]
fn words_outside_a_choice() {
    assert_mistakes(
        "
store: { content: ful }
experts:
  general: { kind: lokal, model: models/small }
  gpt: { base_url: 'https://api.example.com/v1', model: big }
  other: { kind: local, model: models/small, capabilities: [chatt] }
",
        &[
            "coterie.yaml:1:19: `content` cannot be `ful`; did you mean `full`?",
            "coterie.yaml:3:20: `kind` cannot be `lokal`; did you mean `local`?",
            "coterie.yaml:4:3: `gpt` lacks `kind`; `kind` is one of `local` and `remote`",
            "coterie.yaml:5:61: an entry of `capabilities` cannot be `chatt`; did you mean `chat`?",
        ],
    );
}

#[test]
fn missing_keys() {
    assert_mistakes(
        "
experts:
  general: { kind: local }
  gpt: { kind: remote }
mapping: { coding: { fallbacks: [gpt] } }
",
        &[
            "coterie.yaml:2:3: `general` lacks `model`; add it: a GGUF file, or a folder that holds exactly one; \
             `models/NAME` is inside the model store",
            "coterie.yaml:3:3: `gpt` lacks `base_url`; add it: the endpoint's address up to and including `/v1`",
            "coterie.yaml:3:3: `gpt` lacks `model`; add it: the provider's name for the model",
            "coterie.yaml:4:1: `mapping` lacks `default`; add it: the expert that answers what no category covers, \
             and every category without an entry",
            "coterie.yaml:4:12: `coding` lacks `expert`; add it: who is asked first",
        ],
    );
}

#[test]
fn what_server_and_store_cannot_use() {
    let digest = "0".repeat(64);
    assert_mistakes(
        &format!(
            "
server:
  listen: localhost
  body_max: 8 MB
  grace: 0s
  keys: [{{ name: a, sha256: abc }}, {{ name: a, sha256: '{digest}' }}]
store: {{ url: 'postgres://x', keep: long, flush_interval: soon, keep_labelled: longer }}
"
        ),
        &[
            "coterie.yaml:2:11: `listen` is `localhost`; write an IP address and a port, such as `127.0.0.1:8400`",
            "coterie.yaml:3:13: `body_max` is `8 MB`; write bytes, or a whole number and B, KiB, MiB or GiB, such as \
             `8 MiB`",
            "coterie.yaml:4:10: `grace` is `0s`; write a time longer than nothing, such as `250ms`, `30s` or `5min`",
            "coterie.yaml:5:29: `sha256` is no SHA-256 digest; write 64 hexadecimal digits: `printf %s KEY | \
             sha256sum` prints them",
            "coterie.yaml:5:44: two keys are called `a`; give each client a name of its own",
            "coterie.yaml:6:15: `url` is `postgres://x`; write `sqlite://` and the path of a file, such as \
             `sqlite://data/coterie.db`",
            "coterie.yaml:6:37: `keep` is `long`; write a time such as `90 days`, or `forever`",
            "coterie.yaml:6:59: `flush_interval` is `soon`; write a time longer than nothing, such as `250ms`, \
             `30s` or `5min`",
            "coterie.yaml:6:80: `keep_labelled` is `longer`; write a time such as `1 year`, `forever`, or `0 days` \
             for as long as all others",
        ],
    );
}

#[test]
fn names_that_an_expert_cannot_have() {
    assert_mistakes(
        "
experts:
  auto: { kind: local, model: models/small }
  general: { kind: local, model: models/small }
  gpt: { kind: local, model: models/small }
  coterie/x: { kind: local, model: models/small }
",
        &[
            "coterie.yaml:2:3: an expert cannot be called `auto`: the name stands for all of them; choose another name",
            "coterie.yaml:5:3: an expert cannot be called `coterie/x`; use a to z, 0 to 9, `.`, `_` and `-` alone",
        ],
    );
    assert_mistakes(
        "experts: {}",
        &[
            "coterie.yaml:1:10: there is no expert; define at least one, such as `general: { kind: local, model: … }`",
        ],
    );
}

#[test]
fn models_that_are_absent() {
    let house = House::new();
    house.write("store/two/a.gguf", "GGUF");
    house.write("store/two/b.gguf", "GGUF");
    house.write("store/none/readme", "");
    house.config(
        "
router:
  routes: ROUTES
  encoder: { model: models/other, runtime: models/onnxruntime/other.so }
experts:
  general: { kind: local, model: models/qwen2.5-coder-0.5b-instruct }
  gpt: { kind: local, model: models/two }
  third: { kind: local, model: models/none }
  fourth: { kind: local, model: /nowhere/x.gguf }
  fifth: { kind: local, model: models/none/readme }
",
    );
    assert_eq!(
        house.mistakes(),
        [
            "coterie.yaml:3:21: the encoder's `store/other/model.safetensors` is absent; put it there, or name another path",
            "coterie.yaml:3:44: the ONNX Runtime library `store/onnxruntime/other.so` is absent; `scripts/models \
             onnxruntime` brings it; or name a library of your own here or in ORT_DYLIB_PATH",
            "coterie.yaml:5:34: the model `store/qwen2.5-coder-0.5b-instruct` is absent; `scripts/models \
             qwen2.5-coder-0.5b-instruct` or `coterie models pull qwen2.5-coder-0.5b-instruct` brings it",
            "coterie.yaml:6:30: the folder `store/two` holds several GGUF files; name one of them: `a.gguf` or \
             `b.gguf`",
            "coterie.yaml:7:32: the folder `store/none` holds no GGUF file; put it there, or name another path",
            "coterie.yaml:8:33: the model `/nowhere/x.gguf` is absent; put it there, or name another path",
            "coterie.yaml:9:32: `store/none/readme` is no GGUF file; name a GGUF model; `coterie models list` tells \
             whether a download is whole",
        ]
    );
}

#[test]
fn addresses_and_keys_of_remote_experts() {
    let house = House::new().with("EMPTY", "").with("TWO_WORDS", "sk 1");
    house.write("empty-key", "\n");
    let text = "
experts:
  general: { kind: remote, model: a, base_url: 'https://', api_key: { env: NOT_SET } }
  gpt: { kind: remote, model: a, base_url: api.example.com/v1, api_key: { env: EMPTY } }
  c: { kind: remote, model: a, base_url: 'https://a.example.com/v1/chat/completions', api_key: { env: TWO_WORDS } }
  d: { kind: remote, model: '', base_url: 'ftp://a.example.com/v1', api_key: { env: sk-secret } }
  e: { kind: remote, model: a, base_url: 'https://a.example.com/v1', api_key: { file: DIR/absent } }
  f: { kind: remote, model: a, base_url: 'https://a.example.com/v1', api_key: { file: DIR/empty-key } }
  g: { kind: remote, model: a, base_url: 'https://a.example.com/v1', api_key: sk-secret }
";
    house.config(&text.replace(
        "DIR",
        house.path("").display().to_string().trim_end_matches('/'),
    ));
    let address =
        "write the address up to and including `/v1`, such as `https://api.example.com/v1`";
    assert_eq!(
        house.mistakes(),
        [
            format!("coterie.yaml:2:48: `base_url` is not a web address; {address}"),
            "coterie.yaml:2:76: the environment variable `NOT_SET` is not set; set it to the key of `general`, or \
             take `api_key` out"
                .to_owned(),
            format!("coterie.yaml:3:44: `base_url` is not a web address; {address}"),
            "coterie.yaml:3:80: the environment variable `EMPTY` is not set; set it to the key of `gpt`, or take \
             `api_key` out"
                .to_owned(),
            format!("coterie.yaml:4:42: `base_url` names one endpoint; {address}"),
            "coterie.yaml:4:103: the key is empty, or holds what no HTTP header takes; a key is one word of ASCII"
                .to_owned(),
            "coterie.yaml:5:29: `model` is empty; write the provider's name for the model".to_owned(),
            format!("coterie.yaml:5:43: `base_url` is neither http nor https; {address}"),
            "coterie.yaml:5:85: `env` is no name of an environment variable; write the variable's name, such as \
             `OPENAI_API_KEY`, not the key"
                .to_owned(),
            "coterie.yaml:6:87: the key file `absent` cannot be read: No such file or directory (os error 2); put the \
             key there, alone"
                .to_owned(),
            "coterie.yaml:7:87: the key is empty, or holds what no HTTP header takes; a key is one word of ASCII"
                .to_owned(),
            "coterie.yaml:8:79: `api_key` must be a map with `env` or a map with `file`, not text".to_owned(),
        ]
    );
}

#[test]
fn a_mapping_that_names_what_is_not_there() {
    assert_mistakes(
        "
mapping:
  default: generl
  codng: gpt
  poetry: gpt
  math: { expert: gpt, fallbacks: [general, gpt, gtp] }
  out_of_domain: gpt
",
        &[
            "coterie.yaml:2:12: there is no expert `generl`; did you mean `general`?",
            "coterie.yaml:3:3: no route describes the category `codng`; did you mean `coding`?",
            "coterie.yaml:4:3: no route describes the category `poetry`; known here: `coding`, `math`, `default`, \
             `file`, `budget`, `prefer`, `prefer_allowed`, `quality`, `cascade` and `explore`",
            "coterie.yaml:5:45: `gpt` is asked already; name each expert once",
            "coterie.yaml:5:50: there is no expert `gtp`; did you mean `gpt`?",
            "coterie.yaml:6:3: `out_of_domain` has no entry of its own; `default` answers what no category covers",
        ],
    );
}

#[test]
fn a_mapping_whose_experts_do_not_serve() {
    assert_mistakes(
        "
experts:
  general: { kind: remote, base_url: 'https://api.example.com/v1', model: small, capabilities: [embeddings], usd_in: 1, usd_out: 1 }
  gpt: { kind: remote, base_url: nowhere, model: big, usd_in: 1 }
  unused: { kind: remote, base_url: 'https://api.example.com/v1', model: big }
mapping:
  default: general
  budget: { usd_per_question: 0.02 }
  math: gpt
",
        &[
            "coterie.yaml:3:3: `gpt` has no price, and `mapping.budget` needs one; add `usd_in` and `usd_out`, \
             dollars per million tokens",
            "coterie.yaml:3:34: `base_url` is not a web address; write the address up to and including `/v1`, such as \
             `https://api.example.com/v1`",
            "coterie.yaml:4:3: `unused` has no price, and `mapping.budget` needs one; add `usd_in` and `usd_out`, \
             dollars per million tokens",
            "coterie.yaml:6:12: `general` does not answer conversations; name another expert, or add `chat` to its \
             `capabilities`",
        ],
    );
}

#[test]
fn the_hub_and_the_cache_folder() {
    let bad_hub = House::new().with("HF_ENDPOINT", "hub.example.com");
    assert_eq!(
        bad_hub
            .config("models: { hub: 'https://fine.example.com' }")
            .mistakes(),
        [
            "coterie.yaml:1:16: the environment variable HF_ENDPOINT is not a web address; write the address of a \
             model hub, such as `https://huggingface.co`"
        ]
    );
    let homeless = House::new().with("COTERIE_MODELS_DIR", "");
    homeless.config(
        "experts: { general: { kind: local, model: models/small } }\nmapping: { default: general }",
    );
    assert_eq!(
        homeless.mistakes(),
        [
            "coterie.yaml:1:1: there is no cache folder to keep models in: HOME is not set; write `models.dir`, or \
             set COTERIE_MODELS_DIR"
        ]
    );
}

#[test]
fn files_that_cannot_be_read() {
    let house = House::new();
    assert_eq!(
        house.mistakes(),
        ["coterie.yaml:1:1: the file cannot be read: No such file or directory (os error 2)"]
    );
    house.write("coterie.yaml", "# nothing\n");
    assert_eq!(
        house.mistakes(),
        ["coterie.yaml:1:1: the file says nothing"]
    );
    house.write("coterie.yaml", b"server:\n  listen: \xff\n");
    assert_eq!(
        house.mistakes(),
        ["coterie.yaml:2:11: this is not UTF-8; save the file as UTF-8"]
    );
    house.write("coterie.yaml", "- experts\n");
    assert_eq!(
        house.mistakes(),
        ["coterie.yaml:1:1: the file must be a map with `experts`, not a list"]
    );
}

#[test]
fn broken_yaml() {
    for (text, expected) in [
        (
            "server: { listen: 1\nstore: }\n",
            "coterie.yaml:2:6: the YAML cannot be read: while parsing a flow mapping, did not find expected ',' or '}'",
        ),
        (
            "server:\n\tlisten: x\n",
            "coterie.yaml:2:2: the YAML cannot be read: tabs disallowed within this context (block indentation)",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "coterie.yaml:3:1: the YAML cannot be read: only single YAML document expected but multiple found",
        ),
    ] {
        let house = House::new();
        house.write("coterie.yaml", text);
        assert_eq!(house.mistakes(), [expected]);
    }
}

#[test]
fn what_contradicts_itself_is_told_with_its_place() {
    assert_mistakes(
        "
experts:
  general: { kind: local, model: models/small, capabilities: [chat, embeddings, json] }
  gpt:
    kind: remote
    base_url: 'https://api.example.com/v1'
    model: big
    timeouts: { first_token: 10min, total: 1s }
    retries: { backoff: 10s, backoff_max: 1s }
    breaker: { open: 30s }
",
        &[
            "coterie.yaml:2:69: a local expert has no `embeddings`; it can `chat`; take the others out",
            "coterie.yaml:2:81: a local expert has no `json`; it can `chat`; take the others out",
            "coterie.yaml:7:30: `first_token` is longer than `total`, which is 1s; shorten it, or write a longer `total`",
            "coterie.yaml:8:25: `backoff` is longer than `backoff_max`, which is 1s; shorten it, or write a longer \
             `backoff_max`",
            "coterie.yaml:9:22: `open` is longer than `open_max`, which is 20s; shorten it, or write a longer `open_max`",
        ],
    );
    // A default that a shorter bound leaves behind is nobody's contradiction.
    assert_mistakes(
        "
experts:
  general: { kind: local, model: models/small, timeouts: { total: 10s }, retries: { backoff_max: 50ms } }
  gpt: { kind: remote, base_url: 'https://api.example.com/v1', model: big, breaker: { open_max: 1s } }
",
        &[],
    );
}

#[test]
fn no_feature_and_a_store_that_is_no_file() {
    assert_mistakes(
        "
router: { features: [], routes: ROUTES }
store: { url: 'sqlite://:memory:' }
",
        &[
            "coterie.yaml:1:21: `features` is empty; name one of `sparse`, `static` and `transformer` at least, or leave \
             it out for all three",
            "coterie.yaml:2:15: `url` is `sqlite://:memory:`; write `sqlite://` and the path of a file, such as \
             `sqlite://data/coterie.db`",
        ],
    );
}
