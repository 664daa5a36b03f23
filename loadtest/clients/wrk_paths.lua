-- For wrk: another path each time, below that of the URL.

local number = 0
local prefix

function init()
   prefix = wrk.path
end

function request()
   number = number + 1
   return wrk.format("GET", prefix .. "name-" .. number)
end
