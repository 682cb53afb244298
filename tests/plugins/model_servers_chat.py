"""The model servers of `model_servers`, able to chat and to tell of their models as Ollama and OpenAI do.

    async def test_something(ollama_chat_server):
        ollama_chat_server.chat_answers = ['{"a": 1}', ChatAnswer("no end", ends="length")]
        ollama_chat_server.chat_answers = lambda prompt: prompt.upper()     # what the model has read of the prompt
        ollama_chat_server.fail_next("busy")                                # the next chat, as with embeddings
        ollama_chat_server.fail_next_about("dropped")                       # the next look at version, models or pull

Texts have one token more than words. A prompt counts as the request's texts, so `poison` works on prompts, too.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest
from typing_extensions import override

from plugins._strict_schemas import fault_of
from plugins._wire import Reply, json_reply
from plugins.misbehaviour import Behaviour, Misbehaviour, RecordedRequest
from plugins.model_servers import ModelServer, OllamaServer, OpenAIServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Refusable = Literal["json_schema", "json_object", "max_completion_tokens", "max_tokens", "temperature", "think"]


@dataclass(frozen=True)
class ChatAnswer:
    """What the model says, and why it ends; `thoughts` come apart from the text."""

    text: str = ""
    ends: str = "stop"
    refusal: str | None = None
    thoughts: str | None = None


@dataclass(frozen=True)
class ShownModel:
    """A model as `/api/show` tells of it; no capabilities: a server too old to tell."""

    capabilities: tuple[str, ...] | None = ("completion",)
    context: int | None = 40_960
    embedding_length: int = 2560
    architecture: str = "qwen3"
    size_bytes: int = 2_620_788_019


Answers = list[str | ChatAnswer] | Callable[[str], str | ChatAnswer]


class ChatServer(ModelServer):
    """What both servers share when they chat.

    Attributes:
        chat_answers: the next answers in order, `{}` when there are no more; or what makes one of the prompt as the
            model reads it.
        read: what the model read of each prompt: system message and prompt, joined by a line feed.
        refuses: parameters this server does not know.
        about: paths of all requests that were neither chats nor embeddings.
    """

    def __init__(self, *, dimensions: int = 64) -> None:
        super().__init__(dimensions=dimensions)
        self.chat_answers: Answers = []
        self.read: list[str] = []
        self.refuses: set[Refusable] = set()
        self.about: list[str] = []
        self._about_next: list[Behaviour] = []

    def fail_next_about(self, *names: Misbehaviour, **details: Any) -> None:
        """Each of the next requests that are neither chat nor embedding misbehaves once, in this order."""
        with self._lock:
            self._about_next.extend(Behaviour(name, **details) for name in names)

    @override
    def handle(self, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        if self._chats(path):
            texts = tuple(str(message["content"]) for message in body["messages"])
            return self._work(RecordedRequest(method, path, headers, body, texts))
        if self._embeds(path):
            return super().handle(method, path, headers, body)
        with self._lock:
            self.about.append(path)
            behaviour = self._about_next.pop(0) if self._about_next else None
        if self.api_key is not None and headers.get("authorization") != f"Bearer {self.api_key}":
            behaviour = Behaviour("key_refused")
        if behaviour is not None and behaviour.name not in ("cut", "slow"):
            return self._reply((), headers, body, behaviour)
        if behaviour is not None and behaviour.name == "slow":
            time.sleep(behaviour.delay_seconds)
        is_cut = behaviour is not None and behaviour.name == "cut"
        return dataclasses.replace(self._about(path, body), cut=is_cut)

    def _next_answer(self, prompt: str) -> ChatAnswer:
        with self._lock:
            self.read.append(prompt)
            if callable(self.chat_answers):
                said = self.chat_answers(prompt)
            else:
                said = self.chat_answers.pop(0) if self.chat_answers else "{}"
        return said if isinstance(said, ChatAnswer) else ChatAnswer(said)

    def _chats(self, path: str) -> bool:
        raise NotImplementedError


class OllamaChatServer(OllamaServer, ChatServer):
    """Ollama with models that chat.

    Attributes:
        version: as `/api/version` tells it.
        knows_truncate: False: older than 0.12.6, which cuts long prompts though asked not to.
        default_num_ctx: for requests without one.
        shown: what `/api/show` tells of a model; else by its name one for embeddings or for chat.
        thinking: models that think unless told not to, and then have no room left for an answer.
        pullable: models that the library has.
        pull_error: the line with which a download ends.
    """

    def __init__(self, *, dimensions: int = 64) -> None:
        super().__init__(dimensions=dimensions)
        self.version = "0.12.6"
        self.knows_truncate = True
        self.default_num_ctx = 4096
        self.shown: dict[str, ShownModel] = {}
        self.thinking: set[str] = set()
        self.pullable: set[str] = set()
        self.pull_error: str | None = None

    @override
    def _chats(self, path: str) -> bool:
        return path == "/api/chat"

    @override
    def _about(self, path: str, body: dict[str, Any]) -> Reply:
        model = str(body.get("model"))
        if path == "/api/version":
            return json_reply({"version": self.version})
        if path == "/api/tags":
            return json_reply({"models": [self._tag(name) for name in sorted(self.models or {"nomic-embed-text"})]})
        if path == "/api/pull":
            return self._pull(model)
        if path == "/api/show" and (self.models is None or model in self.models):
            return json_reply(self._show(self._shown(model)))
        return super()._about(path, body)

    @override
    def _answer(
        self, texts: Sequence[str], vectors: list[list[float]], body: dict[str, Any], name: Misbehaviour | None
    ) -> Reply:
        if "messages" not in body:
            return super()._answer(texts, vectors, body, name)
        model, options = body["model"], body.get("options", {})
        if body.get("think") and model not in self.thinking:
            return json_reply({"error": f'"{model}" does not support thinking'}, status=400)
        if "think" in body and "think" in self.refuses:
            return json_reply({"error": 'json: unknown field "think"'}, status=400)
        if "completion" not in (self._shown(model).capabilities or ("completion",)):
            return json_reply({"error": f'"{model}" does not support chat'}, status=400)
        context = min(options.get("num_ctx", self.default_num_ctx), self._shown(model).context or 10**9)
        tokens = sum(map(tokens_in, texts))
        if tokens > context and self.knows_truncate and body.get("truncate") is False:
            words = f"request ({tokens} tokens) exceeds the available context size ({context} tokens)"
            return json_reply({"error": f"{words}, try increasing it"}, status=400)
        if self._thinks(body):
            answer = ChatAnswer(ends="length", thoughts="Okay, the user wants")
        else:
            cut = " ".join(texts[-1].split()[-context:])
            answer = self._next_answer("\n".join(texts) if tokens <= context else cut)
        text, is_whole = first_words(answer.text, options.get("num_predict", -1))
        message = {"role": "assistant", "content": text} | ({"thinking": answer.thoughts} if answer.thoughts else {})
        return json_reply(
            {
                "model": model,
                "created_at": "2025-10-16T09:12:44.118503Z",
                "message": message,
                "done": True,
                "done_reason": answer.ends if is_whole else "length",
                "total_duration": 4_935_886_791,
                "load_duration": 534_986_708,
                "prompt_eval_count": min(tokens, context),
                "prompt_eval_duration": 107_345_000,
                "eval_count": tokens_in(text),
                "eval_duration": 4_289_432_000,
            }
        )

    def _thinks(self, body: dict[str, Any]) -> bool:
        return body["model"] in self.thinking and body.get("think") is not False

    def _shown(self, model: str) -> ShownModel:
        embeds = ShownModel(("embedding",), 2048, self.dimensions, "nomic-bert", 274_302_450)
        return self.shown.get(model, embeds if "embed" in model else ShownModel())

    def _tag(self, name: str) -> dict[str, object]:
        full = name if ":" in name else f"{name}:latest"
        return {
            "name": full,
            "model": full,
            "modified_at": "2025-10-01T08:20:11.5432Z",
            "size": self._shown(name).size_bytes,
            "digest": "0a109f422b47e3a30ba2b10eca18548e944e8a23073ee3f3e947efcf3c45e59f",
            "details": {"format": "gguf", "family": self._shown(name).architecture, "quantization_level": "F16"},
        }

    def _show(self, shown: ShownModel) -> dict[str, object]:
        architecture = shown.architecture
        info: dict[str, object] = {
            "general.architecture": architecture,
            "general.parameter_count": 4_022_468_096,
            f"{architecture}.embedding_length": shown.embedding_length,
            f"{architecture}.attention.head_count": 32,
            "tokenizer.ggml.tokens": None,
        }
        if shown.context is not None:
            info[f"{architecture}.context_length"] = shown.context
        told = {} if shown.capabilities is None else {"capabilities": list(shown.capabilities)}
        return {"modelfile": "# …", "template": "{{ .Prompt }}", "details": {}, "model_info": info, **told}

    def _pull(self, model: str) -> Reply:
        digest, size = f"sha256:{'970aa74c0a90':0<64}", 274_290_656
        lines: list[dict[str, object]] = [{"status": "pulling manifest"}]
        if model not in self.pullable:
            lines.append({"error": "pull model manifest: file does not exist"})
        else:
            layer = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size}
            lines += [layer, layer | {"completed": size // 2}]
            if self.pull_error is not None:
                lines.append({"error": self.pull_error})
            else:
                ends = ("verifying sha256 digest", "writing manifest", "removing any unused layers", "success")
                lines.append(layer | {"completed": size})
                lines.extend({"status": status} for status in ends)
                self.models = None if self.models is None else self.models | {model}
        content = "".join(f"{json.dumps(line)}\n" for line in lines)
        return Reply(200, content.encode(), headers={"content-type": "application/x-ndjson"})


class OpenAIChatServer(OpenAIServer, ChatServer):
    """OpenAI, or a server that speaks its protocol, with models that chat.

    Attributes:
        context: tokens of prompt and answer together.
        told: what `/v1/models` says of each model beside its name, as vLLM or llama.cpp do.
        has_models: False: as servers do that have no such path.
        error_as_success: comes with the status 200, as from OpenRouter, instead of any answer.
        success_at_any_path: as LM Studio does, which says in the body that it has no such path.
    """

    def __init__(self, *, dimensions: int = 64) -> None:
        super().__init__(dimensions=dimensions)
        self.context = 128_000
        self.told: dict[str, object] = {}
        self.has_models = True
        self.success_at_any_path = False
        self.error_as_success: object = None

    @override
    def _chats(self, path: str) -> bool:
        return path == "/v1/chat/completions"

    @override
    def _about(self, path: str, body: dict[str, Any]) -> Reply:
        if path != "/v1/models" and self.success_at_any_path:
            return json_reply({"error": f"Unexpected endpoint or method. (POST {path})"})
        if path != "/v1/models":
            return super()._about(path, body)
        if not self.has_models:
            return Reply(404, b"", headers={})
        said = {"object": "model", "created": 1_705_948_997, "owned_by": "system"} | self.told
        names = sorted(self.models or {"gpt-4o-mini", "text-embedding-3-small"})
        return json_reply({"object": "list", "data": [{"id": name} | said for name in names]})

    @override
    def _answer(
        self, texts: Sequence[str], vectors: list[list[float]], body: dict[str, Any], name: Misbehaviour | None
    ) -> Reply:
        if "messages" not in body:
            return super()._answer(texts, vectors, body, name)
        tokens, most = sum(map(tokens_in, texts)), body.get("max_completion_tokens", body.get("max_tokens", -1))
        if self.error_as_success is not None:
            return json_reply({"error": self.error_as_success})
        if refused := self._refused_parameter(body):
            return self._bad_request(*refused)
        if tokens + max(most, 0) > self.context:
            words = f"This model's maximum context length is {self.context} tokens. However, you requested {tokens}"
            return self._bad_request(f"{words} tokens. Please reduce the length of the messages.", "messages")
        answer = self._next_answer("\n".join(texts))
        text, is_whole = first_words(answer.text, most)
        message = {"role": "assistant", "content": text or None, "refusal": answer.refusal}
        message |= {"reasoning_content": answer.thoughts} if answer.thoughts else {}
        ends = answer.ends if is_whole else "length"
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": ends}
        usage = {"prompt_tokens": tokens, "completion_tokens": tokens_in(text)}
        usage["total_tokens"] = sum(usage.values())
        return json_reply(
            {
                "id": "chatcmpl-CRYb2mPqvUCWQJ3iPUHYsYZZ0jGkE",
                "object": "chat.completion",
                "created": 1_760_605_964,
                "model": f"{body['model']}-2024-07-18",
                "choices": [choice],
                "usage": usage,
                "system_fingerprint": "fp_560af6e559",
            }
        )

    @override
    def _own_refusal(
        self, texts: Sequence[str], headers: Mapping[str, str], body: dict[str, Any]
    ) -> Misbehaviour | None:
        """Messages may be empty, texts to embed may not."""
        return super()._own_refusal(texts if "input" in body else ["…"], headers, body)

    def _refused_parameter(self, body: dict[str, Any]) -> tuple[str, str] | None:
        for parameter in ("max_completion_tokens", "max_tokens"):
            if parameter in body and parameter in self.refuses:
                return f"Unrecognized request argument supplied: {parameter}", parameter
        if body.get("temperature", 1) != 1 and "temperature" in self.refuses:
            words = "'temperature' does not support 0 with this model. Only the default (1) value is supported."
            return f"Unsupported value: {words}", "temperature"
        return self._refused_format(body)

    def _refused_format(self, body: dict[str, Any]) -> tuple[str, str] | None:
        form = body.get("response_format", {})
        kind = form.get("type")
        if kind == "json_schema" and kind in self.refuses:
            words = "'response_format' of type 'json_schema' is not supported with this model."
            return f"Invalid parameter: {words}", "response_format"
        if kind == "json_object" and kind in self.refuses:
            return "'response_format.type' must be 'json_schema' or 'text'", "response_format"
        if kind == "json_object" and "json" not in str(body["messages"]).lower():
            words = "'messages' must contain the word 'json' in some form"
            return f"{words}, to use 'response_format' of type 'json_object'.", "messages"
        if kind == "json_schema" and form["json_schema"].get("strict") and (fault := fault_of(form["json_schema"])):
            return fault, "response_format"
        return None

    @staticmethod
    def _bad_request(words: str, parameter: str) -> Reply:
        error = {"message": words, "type": "invalid_request_error", "param": parameter, "code": None}
        return json_reply({"error": error}, status=400)


def tokens_in(text: str) -> int:
    return len(text.split()) + 1


def first_words(text: str, most: int) -> tuple[str, bool]:
    """The first `most` tokens, white space kept, and whether that is all; negative: no limit."""
    words = re.findall(r"\s*\S+|\s+$", text)
    return ("".join(words[:most]), False) if 0 <= most < len(words) else (text, True)


@pytest.fixture
def ollama_chat_server() -> Iterator[OllamaChatServer]:
    """A fake Ollama with models that chat."""
    server = OllamaChatServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def openai_chat_server() -> Iterator[OpenAIChatServer]:
    """A fake OpenAI-compatible server with models that chat."""
    server = OpenAIChatServer()
    server.start()
    yield server
    server.stop()
