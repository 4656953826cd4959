# In the emulated machine of run.sh: measures one server after the other, first as they are, then as batch work (chrt --batch), where a
# thread that is woken does not interrupt the one that runs, and batches become larger.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd "$(dirname "$0")/.." || exit
port=9000

# Instructions of all threads of a process, of its first thread, and how often that one has slept.
count() {
  awk -v first="/task/$1/" '{ all += $1; if (index(FILENAME, first)) main = $1 } END { printf "%.0f %.0f ", all, main }' /proc/"$1"/task/*/schedstat
  awk '/^voluntary/ { print $2 }' /proc/"$1"/task/"$1"/status
}

measure() {
  policy=$1 server=$2 port=$((port + 1))
  PORT=$port chrt --"$policy" 0 node servers/hello/"$server".js > /dev/null 2>&1 &
  pid=$!
  until (exec 3<> /dev/tcp/127.0.0.1/$port) 2> /dev/null; do sleep 0.1; done
  wrk -t1 -c64 -d6 http://127.0.0.1:$port/ > /dev/null
  before=$(count $pid)
  requests=$(wrk -t1 -c64 -d6 http://127.0.0.1:$port/ | awk '/requests in/ { print $1 }')
  echo "$before $(count $pid)" | awk -v n="$requests" -v server="$server" -v policy="$policy" '
    { printf "| %s | %s | %.0f | %.0f | %.0f |\n", server, policy, ($4 - $1) / n, ($5 - $2) / n, n / ($6 - $3) }'
  kill -9 $pid
  wait $pid 2> /dev/null
}

echo '| server | scheduled | instructions, user + kernel | JS thread | requests for each time that it slept |'
echo '| --- | --- | ---: | ---: | ---: |'
for policy in other batch; do
  for server in "$@"; do measure $policy "$server"; done
done
