-- For wrk: all latencies that it has counted, not only a few percentiles: a line of microseconds
-- and counts, which read_wrk in loadtest/experiment/measure/generators.py reads.

function done(summary, latency, requests)
  local pairs_of = {}
  for index = 1, #latency do
    local value, count = latency(index)
    pairs_of[index] = value .. ":" .. count
  end
  io.write("latencies ", table.concat(pairs_of, " "), "\n")
end
