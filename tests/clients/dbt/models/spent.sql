{{ config(materialized='materialized_view') }}
SELECT customer, sum(amount) AS total FROM {{ source('shop', 'orders') }} GROUP BY customer
