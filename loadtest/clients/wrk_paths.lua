-- For wrk: another path in every request, below the path of the URL.

local number = 0
local prefix

function init()
   prefix = wrk.path
end

function request()
   number = number + 1
   return wrk.format("GET", prefix .. "name-" .. number)
end
