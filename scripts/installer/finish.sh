# shellcheck shell=bash disable=SC2034
# After the program is in place: a language model, the background service, the first health check. Each may be refused
# or may fail without the rest being lost.

gardener() { GARDENER_HOME=$DATA "$PROGRAM/current/bin/gardener" "$@"; }

choose_model() { # a download of gigabytes happens on a typed yes or for --model NAME, never for --yes
  local name size
  if [ -n "$NO_MODEL" ]; then left_out "language model (--no-model)"; return 0; fi
  if [ -n "$DRY_RUN" ]; then
    if [ -n "$MODEL" ]; then run gardener models pull "$MODEL" --yes; else note "would say which language model fits, and ask before downloading it"; fi
    return 0
  fi
  if [ -n "$MODEL" ]; then pull_model "$MODEL"; return 0; fi
  if gardener models list --json 2>/dev/null | layout has-models; then
    already "a language model is here: gardener models list"
    return 0
  fi
  read -r name size <<<"$(gardener models recommend --json 2>/dev/null | layout recommended)" || true
  if [ -z "$name" ]; then
    note "No language model of the catalogue fits this machine's memory. Answers quote the code instead."
    return 0
  fi
  note "$(model_runtime)"
  if [ -n "$YES" ]; then
    left_out "language model: --yes downloads none. The largest that fits: gardener models pull $name ($size)"
  elif ! model_runtime_here; then
    left_out "language model. When a model server is here: gardener models pull $name ($size)"
  elif ask "Download $name now, $size? Without a model, answers quote the code." n; then
    pull_model "$name"
  else
    left_out "language model. Later: gardener models pull $name ($size)"
  fi
}

pull_model() { # NAME
  local said
  if said=$(gardener models pull "$1" --yes --json); then
    said=$(printf '%s' "$said" | layout pulled)
    gardener models use "${said:-$1}" || problem "The model is here but could not be set." "gardener models use ${said:-$1}"
  else
    problem "The language model $1 was not downloaded; the reason is above. Everything else works without it." "gardener models pull $1"
  fi
}

install_service() {
  if [ -n "$NO_SERVICE" ]; then left_out "background service (--no-service)"; return 0; fi
  service_possible || return 0
  if ! ask "Run Gardener in the background, from log-in on?"; then
    left_out "background service. Later: gardener service install"
    return 0
  fi
  if ! run gardener service install; then
    problem "The background service could not be installed; the reason is above." "gardener service install"
  elif [ -n "${FLIPPED:-}" ]; then # its file leads to `current` and is the same, so nothing else would restart it
    run gardener service restart || problem "The background service still runs $FLIPPED." "gardener service restart"
  fi
}

first_health_check() {
  [ -z "$DRY_RUN" ] || { run gardener doctor; return 0; }
  gardener doctor || problem "The health check found errors; they are above." "gardener doctor"
}
