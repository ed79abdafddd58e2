# shellcheck shell=bash
# What the user's shell needs: the command on PATH, and completions. Lines in people's own files carry MARK, so that
# --uninstall takes out exactly those.

MARK="# added by gardener's installer"

shell_name() { basename "${SHELL:-sh}"; }

rc_file() { # where this user's shell reads lines for every new terminal
  case $(shell_name) in
    zsh) printf '%s' "${ZDOTDIR:-$HOME}/.zshrc" ;;
    bash) bash_rc_file ;;
    fish) printf '%s' "${XDG_CONFIG_HOME:-$HOME/.config}/fish/conf.d/gardener.fish" ;;
    *) printf '%s' "$HOME/.profile" ;;
  esac
}

escaped() { # TEXT as it is written between double quotes in such a file
  local rest=$1 character special='\"$`' text=
  [ "$(shell_name)" != fish ] || special='\"$' # there a backslash before a backtick is a backslash
  while [ -n "$rest" ]; do
    character=${rest%"${rest#?}"}
    rest=${rest#?}
    case $special in *"$character"*) text=$text\\$character ;; *) text=$text$character ;; esac
  done
  printf '%s' "$text"
}

in_home() { # PATH as it is written in such a file
  case $1 in
    "$HOME"/*) printf '"%s/%s"' "\$HOME" "$(escaped "${1#"$HOME"/}")" ;;
    *) printf '"%s"' "$(escaped "$1")" ;;
  esac
}

has_line() { [ -f "$1" ] && grep -qF -- "$2" "$1"; }

add_line() { # FILE LINE
  if [ -n "$DRY_RUN" ]; then
    printf '  would add to %s: %s\n' "$1" "$2"
    return 0
  fi
  mkdir -p "$(dirname "$1")"
  append_line "$1" "$2" || { problem "$1 could not be written." "ls -l $(shown "$1")"; return 0; }
  printf '  added to %s: %s\n' "$1" "$2"
}

put_on_path() {
  local folder file line
  folder=$(dirname "$COMMAND")
  file=$(rc_file)
  case ":$PATH:" in *":$folder:"*) already "$folder is on PATH"; return 0 ;; esac
  case $(shell_name) in
    fish) line="fish_add_path --global $(in_home "$folder")  $MARK: PATH" ;;
    *) line="export PATH=$(in_home "$folder" | sed 's/"$//'):\$PATH\"  $MARK: PATH" ;;
  esac
  if has_line "$file" "$MARK: PATH"; then
    already "$file has $folder; new terminals know it"
  elif ask "Put $folder on PATH, by a line in $file?"; then
    add_line "$file" "$line"
    note "This terminal does not know it yet: open a new one, or: export PATH=$(in_home "$folder" | sed 's/"$//'):\$PATH\""
  else
    left_out "PATH. The command is $COMMAND"
  fi
}

completion_file() { # SHELL: where that shell looks
  case $1 in
    bash) printf '%s' "${XDG_DATA_HOME:-$HOME/.local/share}/bash-completion/completions/gardener" ;;
    zsh) printf '%s' "${XDG_DATA_HOME:-$HOME/.local/share}/zsh/site-functions/_gardener" ;;
    fish) printf '%s' "${XDG_CONFIG_HOME:-$HOME/.config}/fish/completions/gardener.fish" ;;
    *) return 1 ;;
  esac
}

install_completion() {
  local shell file text
  shell=$(shell_name)
  file=$(completion_file "$shell") || { left_out "completion: there is none for $shell"; return 0; }
  if [ -n "$DRY_RUN" ]; then
    printf '  would write %s\n' "$file"
  else
    text=$("$PROGRAM/current/bin/gardener" completion "$shell") || { problem "The completion for $shell could not be made." "gardener completion $shell"; return 0; }
    if [ "$(cat "$file" 2>/dev/null)" = "$text" ]; then
      already "$file"
    elif [ -f "$file" ] && ! ours "$file"; then
      problem "$file is there already and is not Gardener's." "gardener completion $shell"
      return 0
    elif mkdir -p "$(dirname "$file")" && printf '%s\n' "$text" >"$file"; then
      printf '  wrote   %s\n' "$file"
    else
      problem "$file could not be written." "gardener completion $shell"
      return 0
    fi
  fi
  [ "$shell" != zsh ] || zsh_finds_it "$file"
}

ours() { head -n 1 "$1" | grep -qE '^#(compdef gardener| (bash|fish) completion for gardener)$'; }

zsh_finds_it() { # FILE: zsh has no folder of the user's own on fpath; works before and after a compinit of theirs
  local file
  file=$(rc_file)
  if has_line "$file" "$MARK: completion"; then
    already "$file loads the completion"
  elif ask "Have zsh load it, by a line in $file?"; then
    add_line "$file" "fpath=($(in_home "$(dirname "$1")") \$fpath); autoload -Uz compinit _gardener; (( \$+functions[compdef] )) || compinit; compdef _gardener gardener  $MARK: completion"
  else
    left_out "loading the completion: put $(dirname "$1") on fpath before compinit"
  fi
}

forget_surroundings() { # --uninstall
  local file shell link
  for file in "${ZDOTDIR:-$HOME}/.zshrc" "$HOME/.bashrc" "$HOME/.bash_profile" "$HOME/.profile" \
    "${XDG_CONFIG_HOME:-$HOME/.config}/fish/conf.d/gardener.fish"; do
    has_line "$file" "$MARK" || continue
    perform "take the lines that end in \"$MARK\" out of $file" drop_lines "$file" "$MARK" || { problem "The lines that end in \"$MARK\" are still in $file." "ls -l $(shown "$file")"; continue; }
    [ -n "$DRY_RUN" ] || [ -s "$file" ] || [ -L "$file" ] || run rm -f "$file"
  done
  for shell in bash zsh fish; do
    file=$(completion_file "$shell")
    if [ -f "$file" ] && ours "$file"; then run rm -f "$file"; fi
  done
  link=$(readlink "$COMMAND" 2>/dev/null || true)
  if [ "$link" = "$PROGRAM/current/bin/gardener" ]; then run rm -f "$COMMAND"; fi
}
