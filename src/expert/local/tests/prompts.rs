//! Conversations become the tokens that each real model was trained on.

use std::{fs, io::BufReader};

use candle_core::quantized::{gguf_file::Content, tokenizer::TokenizerFromGguf};
use serde_json::json;

use super::{qwen2_file, request, smollm2};
use crate::expert::local::{
    gguf::Gguf,
    template::ChatTemplate,
    text::{AnswerText, Step},
    tokenizer::Tokenizer,
};

#[test]
fn a_conversation_becomes_the_prompt_that_the_model_was_trained_on() {
    let generator = smollm2(None);
    let request = request(json!({"messages": [
        {"role": "user", "content": "Is 2024 a leap year?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "And  2025?\n"},
    ]}));
    let prompt = generator.template.render(&request.messages).unwrap();
    insta::assert_snapshot!(prompt, @r"
    <|im_start|>system
    You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
    <|im_start|>user
    Is 2024 a leap year?<|im_end|>
    <|im_start|>assistant
    Yes.<|im_end|>
    <|im_start|>user
    And  2025?
    <|im_end|>
    <|im_start|>assistant
    ");
    let tokens = generator.tokenizer.encode(&prompt).unwrap();
    insta::assert_compact_debug_snapshot!(tokens, @"[1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198, 1, 4093, 198, 4182, 216, 34, 32, 34, 36, 253, 19894, 713, 47, 2, 198, 1, 520, 9531, 198, 10539, 30, 2, 198, 1, 4093, 198, 3528, 256, 34, 32, 34, 37, 47, 198, 2, 198, 1, 520, 9531, 198]");
}

#[test]
fn the_template_of_the_second_family_writes_tools_and_instructions_down() {
    let gguf = Gguf::open(&qwen2_file()).unwrap();
    let request = request(json!({"messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "content": null, "tool_calls": []},
        {"role": "tool", "content": "21 C", "tool_call_id": "1"},
    ]}));
    let template = ChatTemplate::load(&gguf).unwrap();
    insta::assert_snapshot!(template.render(&request.messages).unwrap(), @r"
    <|im_start|>system
    Be brief.<|im_end|>
    <|im_start|>user
    How warm is it?<|im_end|>
    <|im_start|>assistant
    <|im_end|>
    <|im_start|>user
    <tool_response>
    21 C
    </tool_response><|im_end|>
    <|im_start|>assistant
    ");
}

#[test]
fn the_tokenizer_of_the_second_family_agrees_with_the_reference() {
    let file = qwen2_file();
    let ours = Tokenizer::load(&Gguf::open(&file).unwrap()).unwrap();
    let mut file = BufReader::new(fs::File::open(file).unwrap());
    let reference = tokenizers::Tokenizer::from_gguf(&Content::read(&mut file).unwrap()).unwrap();
    for text in [
        "<|im_start|>user\nfn main() {\n    println!(\"{}\", 12345);\n}<|im_end|>\n",
        "It's  we'LL  naïve cafe\u{301} 世界 👩‍👩‍👧\r\n\t x ",
        "<tool_call>{}</tool_call>",
        "",
    ] {
        let expected = reference.encode(text, false).unwrap();
        assert_eq!(ours.encode(text).unwrap(), expected.get_ids(), "{text}");
    }
}

#[test]
fn tokens_read_back_as_the_text_they_came_from() {
    let generator = smollm2(None);
    let original = "Grüße, 世界! 👩‍👩‍👧 déjà\tvu\n\n  12.5 €";
    let mut text = AnswerText::new(&[]);
    let mut pieces = Vec::new();
    for token in generator.tokenizer.encode(original).unwrap() {
        match text.push(generator.tokenizer.bytes(token)) {
            Step::Goes(piece) => pieces.push(piece),
            Step::Stops(piece) => panic!("stopped at {piece}"),
        }
    }
    assert!(
        pieces.iter().any(String::is_empty),
        "some characters take several tokens"
    );
    assert_eq!(pieces.concat(), original);
}
