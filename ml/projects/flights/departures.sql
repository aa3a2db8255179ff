-- One row a departure, with the weather of its hour; nothing in here is known later than at departure.
SELECT
    flight_id,
    time_hour,
    sched_dep_time,
    sched_arr_time,
    carrier,
    origin,
    dest,
    distance,
    temp,
    humid,
    wind_speed,
    precip,
    pressure,
    visib,
    arr_delay IS NULL OR arr_delay > 15 AS late  -- minutes; none if cancelled or diverted
FROM flights
LEFT JOIN weather USING (origin, time_hour)
WHERE time_hour >= :since
ORDER BY time_hour, flight_id
