# shellcheck shell=bash disable=SC2034
# --uninstall: services, command, completions, lines in shell files, program folder. Data last, and only on a typed word.

uninstall() {
  heading "Uninstalling from $PROGRAM"
  if [ ! -e "$PROGRAM/versions" ] && [ ! -L "$COMMAND" ]; then note "There is no installation in $PROGRAM."; fi
  [ -n "$DRY_RUN" ] || ask "Remove the services, the command, the completions and $PROGRAM?" || fail "Nothing was removed." "$0 --uninstall --keep-data --yes"
  if [ -z "$DRY_RUN" ] && [ -d "$PROGRAM" ]; then take_lock; fi
  remove_services
  end_processes
  forget_surroundings
  remove_program
  remove_data
  [ "${#PROBLEMS[@]}" -gt 0 ] || [ -n "$DRY_RUN" ] || heading "Gardener is uninstalled."
}

remove_services() {
  local file
  if [ -x "$PROGRAM/current/bin/gardener" ]; then
    run gardener service uninstall || note "The program could not remove its services; their files are removed instead."
  fi
  for file in "$(service_folder)"/dev.gardener.*; do # those of other data folders, and what the program could not
    [ -f "$file" ] || continue
    grep -qF -- "$PROGRAM/" "$file" || continue
    stop_service "$file"
    run rm -f "$file"
  done
}

program_processes() { # "PID COMMAND" of what runs out of the program folder
  # By the environment, as awk reads backslashes in -v as escapes. A Python of Apple's framework kind starts itself again under another name, so its arguments count too.
  ps -axo pid=,command= | FOLDER="$PROGRAM/" awk 'BEGIN { folder = ENVIRON["FOLDER"] } {
    pid = $1; sub(/^ *[0-9]+ +/, "")
    if (index($0, folder) == 1 || ($1 ~ /[Pp]ython[0-9.]*$/ && index($0, folder))) print pid " " $0
  }'
}

end_processes() {
  local found pid waited=0
  found=$(program_processes)
  [ -n "$found" ] || return 0
  note "These still run:"
  printf '%s\n' "$found" | sed 's/^/          /'
  ask "End them?" || fail "They would run on without their files; nothing more was removed." "$0 --uninstall"
  [ -z "$DRY_RUN" ] || return 0
  for pid in $(printf '%s\n' "$found" | awk '{ print $1 }'); do kill -TERM "$pid" 2>/dev/null || true; done
  while [ -n "$(program_processes)" ]; do # running answers are saved first
    [ "$waited" -lt 30 ] || fail "They did not end within 30 s; nothing more was removed." "$0 --uninstall"
    sleep 1
    waited=$((waited + 1))
  done
}

remove_entry() { # PATH below the program folder
  run rm -rf "$1" || problem "$1 could not be removed." "rm -rf $(shown "$1")"
}

remove_program() {
  local entry
  case $PROGRAM in / | "$HOME" | "$HOME/") fail "$PROGRAM is no folder to remove." "echo \$GARDENER_PROGRAM" ;; esac
  [ -e "$PROGRAM" ] || return 0
  # Only what the installer made: the folder may have been given by the user and hold other things, of these names too.
  for entry in "$PROGRAM"/versions/[0-9]*; do
    if [ -f "$entry/pyvenv.cfg" ] && [ ! -L "$entry" ]; then remove_entry "$entry"; fi
  done
  [ -n "$DRY_RUN" ] || rmdir "$PROGRAM/versions" 2>/dev/null || true
  for entry in "$PROGRAM/python" "$PROGRAM/uv"; do
    if [ -f "$entry/$OWN" ]; then remove_entry "$entry"; fi
  done
  case $(readlink "$PROGRAM/current" 2>/dev/null) in versions/*) remove_entry "$PROGRAM/current" ;; esac
  for entry in installation.json installation.json.damaged upgrade.json upgrade.lock .staging .lock; do
    if [ -e "$PROGRAM/$entry" ] || [ -L "$PROGRAM/$entry" ]; then remove_entry "$PROGRAM/$entry"; fi
  done
  LOCKED=
  [ -n "$DRY_RUN" ] || rmdir "$PROGRAM" 2>/dev/null || note "$PROGRAM is not empty and was left: ls -A $(shown "$PROGRAM")"
}

remove_data() {
  local answer size name entry
  [ -d "$DATA" ] || return 0
  size=$(du -sh "$DATA" 2>/dev/null | awk '{ print $1 }')
  if [ -n "$KEEP_DATA" ] || [ -n "$YES" ]; then
    already "your data stays in $DATA (${size:-?}). To delete it: rm -rf $(shown "$DATA")"
    return 0
  fi
  if [ -n "$DRY_RUN" ]; then
    printf '  would ask whether %s (%s) is to be deleted\n' "$DATA" "${size:-?}"
    return 0
  fi
  case $DATA in / | "$HOME" | "$HOME/") note "$DATA is never deleted from here."; return 0 ;; esac
  say "  $DATA (${size:-?}) holds your conversations, indexes, adapters, settings and, unless set elsewhere, the backups."
  printf '  Type delete to delete it for good; anything else keeps it: '
  read -r answer || answer=
  if [ "$answer" = delete ]; then
    # GARDENER_HOME may be a folder that held other things before.
    for name in config.toml state.db samples.db health.db projects trash embeddings models backups logs run restoring before-restore repairs; do
      for entry in "$DATA/$name" "$DATA/$name"[.-]*; do
        if [ -e "$entry" ] || [ -L "$entry" ]; then
          run rm -rf "$entry" || problem "$entry could not be removed entirely." "rm -rf $(shown "$entry")"
        fi
      done
    done
    rmdir "$DATA" 2>/dev/null || note "$DATA is not empty and was left: ls -A $(shown "$DATA")"
  else
    already "your data stays in $DATA"
  fi
}
