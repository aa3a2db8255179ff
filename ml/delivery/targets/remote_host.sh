#!/bin/sh
# Runs on a host that `deploy --target ssh://…` has copied code and registry to: environment, unit, service.
set -eu
folder=$1 project=$2 channel=$3 port=$4 workers=$5 lock=$6 code=$7
if [ "$(id -u)" -eq 0 ]; then
    echo "error: the model is served by a user of its own, never by root" >&2
    exit 1
fi
mkdir -p "$folder" && cd "$folder"
folder=$(pwd)
python=$folder/venvs/$lock/bin/python
mkdir -p venvs
(
    flock 9 # two deploys at once make one environment
    if [ ! -e "venvs/$lock/installed" ]; then
        rm -rf "venvs/$lock"
        python3 -m venv "venvs/$lock"
        "$python" -m pip install --quiet --disable-pip-version-check --requirement code/requirements.txt
        touch "venvs/$lock/installed"
    fi
) 9>"venvs/$lock.lock"
name=ml-$project-$channel.service
units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
mkdir -p "$units" home
cat > "$units/$name.new" <<EOF
[Unit]
Description=Predictions of $project, channel $channel
StartLimitIntervalSec=0

[Service]
WorkingDirectory=$folder/code
Environment=ML_HOME=$folder/home ML_REGISTRY=$folder/registry ML_VERIFY_KEY=$folder/keys/verify.pem
Environment=ML_PROJECTS=$folder/projects
EnvironmentFile=-$folder/environment
ExecStart=$python -m ml serve --project $project --channel $channel --port $port --workers $workers
ExecReload=/bin/kill -HUP \$MAINPID
Restart=always
RestartSec=1
UMask=0077
LimitNOFILE=65536
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=default.target
EOF
changed=no
# What stands in the environment is read when the service starts.
noted=home/$project-$channel.environment
if [ -e environment ] || [ -e "$noted" ]; then
    said=$([ ! -e environment ] || sha256sum < environment)
    [ "$(cat "$noted" 2>/dev/null)" = "$said" ] || changed=yes
    echo "$said" > "$noted"
fi
cmp -s "$units/$name" "$units/$name.new" || changed=yes
mv "$units/$name.new" "$units/$name"
renew=no
[ "$(cat home/code 2>/dev/null)" = "$code" ] || renew=yes
echo "$code" > home/code
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"
if systemctl --user show-environment >/dev/null 2>&1; then
    user=$(id -un)
    if ! loginctl enable-linger "$user" 2>/dev/null && [ ! -e "/var/lib/systemd/linger/$user" ]; then
        echo "error: the service would end with this login: let root run \`loginctl enable-linger $user\` there" >&2
        exit 1
    fi
    systemctl --user daemon-reload
    systemctl --user enable --quiet "$name"
    if [ "$changed" = yes ]; then
        systemctl --user restart "$name"
    elif [ "$renew" = yes ]; then
        systemctl --user reload-or-restart "$name"
    else
        systemctl --user start "$name"
    fi
    exit
fi
# A host without systemd: the service runs in the background, and new code reaches it by the same signal.
export ML_HOME="$folder/home" ML_REGISTRY="$folder/registry" ML_VERIFY_KEY="$folder/keys/verify.pem"
export ML_PROJECTS="$folder/projects"
if [ -e environment ]; then
    set -a
    # shellcheck source=/dev/null
    . ./environment
    set +a
fi
cd code
pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$ML_HOME/services/$project-$channel.json" 2>/dev/null || true)
if [ "$changed" = no ] && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
    [ "$renew" = no ] || kill -HUP "$pid"
    exit
fi
"$python" -m ml serve --project "$project" --channel "$channel" --stop >/dev/null
nohup setsid "$python" -m ml serve --project "$project" --channel "$channel" --port "$port" --workers "$workers" \
    </dev/null >"$ML_HOME/$project-$channel.log" 2>&1 &
