# shellcheck shell=sh
# A program that the stand-in of pip installs: says what the real one would, and writes down how it was called.
echo "gardener $*" >>"$CALLS"
case "$*" in
  --version) echo "gardener ${STANDIN_SAYS:-$VERSION}" ;;
  doctor)
    [ -z "${STANDIN_DOCTOR:-}" ] || { echo "XX  embedder: model.safetensors is not the file that was released."; exit 1; }
    echo "ok  versions: gardener $VERSION" ;;
  "completion bash") echo "# bash completion for gardener" ;;
  "completion zsh") echo "#compdef gardener" ;;
  "completion fish") echo "# fish completion for gardener" ;;
  "models list --json") echo '{"models": [], "problems": {}}' ;;
  "models recommend --json")
    echo '{"recommended": "qwen2.5-coder-7b", "models": [{"id": "qwen2.5-coder-7b", "download_estimated": true, "download_bytes": 4613562500}]}' ;;
  "models pull "*)
    [ -z "${STANDIN_NO_NETWORK:-}" ] || { echo "error: huggingface.co does not answer." >&2; exit 6; }
    echo '{"runtime": "mlx", "name": "Qwen2.5-Coder-7B-Instruct-4bit"}' ;;
  "service install")
    [ -z "${STANDIN_SSH:-}" ] || { echo "error: launchd has no graphical session for you." >&2; exit 1; } ;;
  "upgrade --help") ;;
  "upgrade --from "*)
    [ -z "${STANDIN_UPGRADE:-}" ] || { echo "error: Version $STANDIN_VERSION answered otherwise." >&2; exit 1; }
    versions=${0%/current/*}/versions
    cp -R "$versions/$VERSION" "$versions/$STANDIN_VERSION"
    sed "s/^VERSION=.*/VERSION=$STANDIN_VERSION/" "$versions/$VERSION/bin/gardener" >"$versions/$STANDIN_VERSION/bin/gardener"
    rm "${versions%/*}/current"
    ln -s "versions/$STANDIN_VERSION" "${versions%/*}/current" ;;
  *) ;;
esac
