-- When the database is made: what workers and analysts log in as. `cogenre catalog grant` says what they may.
create role worker login password 'worker';
create role analyst login password 'analyst';
create extension vector;
