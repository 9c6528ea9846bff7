"""The families of training texts: what a text can tell, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiny_phrases import SENTIMENT, TOPIC, URGENCY, URGENT
from tiny_words import (
    Maker,
    Said,
    Schema,
    Words,
    amount,
    choice,
    clock,
    day,
    joined,
    several,
    text_of,
    whole,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One thing that a text can tell.

    Attributes:
        names: names of a field that asks for it.
        about: a description of such a field.
        make: makes the value.
        clauses: sentences that tell it; `{}` is the value.
    """

    names: tuple[str, ...]
    about: str
    make: Maker
    clauses: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One kind of text.

    Attributes:
        slots: what it can tell.
        openings: sentences that tell several slots at once, by name: `{name} is {age}.`
        tasks: what a caller might write before the text.
    """

    slots: Mapping[str, Slot]
    openings: tuple[str, ...]
    tasks: tuple[str, ...] = field(default=())


def slot(names: str, about: str, make: Maker, *clauses: str) -> Slot:
    """A slot, with its names in one text."""
    return Slot(names=tuple(names.split()), about=about, make=make, clauses=clauses)


def line_items(words: Words) -> Said:
    """Some products, each with how many."""
    count_name, thing_name = (
        words.pick(("quantity", "count", "units")),
        words.pick(("name", "item")),
    )
    pairs = [(words.rng.randint(1, 20), words.product()) for _ in range(words.rng.randint(1, 3))]
    sign = words.pick((" x ", "x ", " "))
    number_first = words.rng.random() < 0.5
    fields: Schema = {count_name: {"type": "integer"}, thing_name: {"type": "string"}}
    order = list(fields) if number_first else list(fields)[::-1]
    item: Schema = {
        "type": "object",
        "properties": {name: fields[name] for name in order},
        "required": order,
    }
    rows = [{count_name: count, thing_name: thing} for count, thing in pairs]
    return Said(
        text=joined([f"{count}{sign}{thing}" for count, thing in pairs]),
        value=[{name: row[name] for name in order} for row in rows],
        schema={"type": "array", "items": item},
    )


_JOBS = (
    "teacher nurse baker pilot lawyer painter farmer driver writer singer doctor engineer plumber "
    "carpenter designer translator chemist cook librarian gardener"
).split()
_SKILLS = (
    "Python SQL German French Excel welding cooking chess painting drawing running swimming music "
    "photography gardening sailing tennis yoga reading hiking"
).split()
_COUNTRIES = (
    "Germany France Spain Italy Norway Japan India Kenya Brazil Canada Poland Chile".split()
)

# One slot a line.
# fmt: off
PEOPLE = Family(
    tasks=("Extract the person.", "Who is this?", "Read the profile.", "Fill in the form."),
    openings=(
        "{name} is {age} years old and lives in {city}.",
        "{name}, {age}, works as a {job} in {city}.",
        "My name is {name} and I am {age}.",
        "I'm {name}, a {job} from {city}.",
        "Meet {name}: {job}, {age} years old.",
        "{name} ({age}) lives in {city}.",
        "At {age}, {name} moved to {city} to work as a {job}.",
        "Hi, {name} here, {age} years old, from {city}.",
        "This is {name}.",
        "Our new {job} is {name}, born on {born}.",
        "{name} was born on {born} in {city}.",
        "Name: {name}. Age: {age}. City: {city}.",
        "The {job} {name} can be reached at {email}.",
        "name: {name}\nage: {age}\njob: {job}",
    ),
    slots={
        "name": slot("name person full_name", "name of the person", text_of(Words.person), "The name is {}.", "Call me {}."),
        "age": slot("age years age_years", "age in years", whole(1, 99), "Age {}.", "Now {} years old.", "Turned {} last week."),
        "city": slot("city town home location", "where the person lives", text_of(Words.city), "Lives in {}.", "Home is {}.", "Based in {}."),
        "job": slot("job occupation profession", "what the person does for a living", text_of(lambda w: w.pick(_JOBS)), "Works as a {}.", "By trade a {}.", "Earns a living as a {}."),
        "email": slot("email mail contact", "email address", text_of(Words.email, format="email"), "Email: {}.", "Write to {}.", "Mail goes to {}."),
        "born": slot("born birthday birth_date date_of_birth", "date of birth", day, "Born {}.", "Date of birth: {}.", "Birthday on {}."),
        "skills": slot("skills hobbies interests", "what the person likes or can do", several(lambda w: w.pick(_SKILLS)), "Likes {}.", "Skills: {}.", "Good at {}."),
        "married": slot("married is_married", "whether the person is married", choice({True: ("Married.", "Has a wife.", "Happily married."), False: ("Single.", "Not married.", "Lives alone, unmarried.")}), "{}"),
        "height": slot("height_m height", "height in metres", amount(2, step=0.01), "Height {} m.", "Is {} m tall."),
    },
)
ORDERS = Family(
    tasks=("Read the order.", "What was ordered?", "Extract the order."),
    openings=(
        "{customer} ordered {items}.",
        "Please send {items} to {customer} in {city}.",
        "Order {code}: {items} for {customer}.",
        "Hello, I would like {items}. Regards, {customer}",
        "We need {items} by {due}.",
        "New order {code} from {customer}, total {total}.",
        "I want to buy {quantity} of the {product}.",
        "{quantity} x {product} for {customer}.",
        "Ship {quantity} {product} to {city} before {due}.",
        "Order no. {code} dated {due}: {quantity} pieces of {product}.",
        "{customer} takes {quantity} of your {product} at {price} each.",
        "The {product} costs {price}, send me {quantity}.",
    ),
    slots={
        "customer": slot("customer buyer client name", "who ordered", text_of(Words.person), "Ordered by {}.", "The customer is {}."),
        "code": slot("order_id order_number reference id", "the order's number", text_of(Words.code), "Order number {}.", "Reference: {}."),
        "items": slot("items products lines", "what was ordered", line_items, "Items: {}.", "In the basket: {}."),
        "product": slot("product item article", "the product", text_of(Words.product), "Product: {}.", "It is about the {}."),
        "quantity": slot("quantity units count amount", "how many", whole(1, 60), "Quantity {}.", "{} units please."),
        "price": slot("price unit_price", "price of one", amount(300), "Price {}.", "At {} EUR each."),
        "total": slot("total sum amount_due", "total of the order", amount(2000), "Total: {}.", "That makes {} in all."),
        "due": slot("due delivery_date deliver_by date", "date of delivery", day, "Deliver by {}.", "Needed on {}."),
        "city": slot("city destination town", "where it goes", text_of(Words.city), "Send it to {}.", "Destination {}."),
        "gift": slot("gift is_gift gift_wrap", "whether it is a gift", choice({True: ("Please gift wrap it.", "It is a gift."), False: ("No gift wrapping.", "It is not a gift.")}), "{}"),
    },
)
INVOICES = Family(
    tasks=("Read the invoice.", "Extract the invoice.", "Book this."),
    openings=(
        "Invoice {number} from {vendor}, total {total} {currency}.",
        "{vendor} bills {customer} {total} {currency}.",
        "Invoice no. {number}\nDate: {date}\nAmount: {total} {currency}",
        "Attached is invoice {number} over {total} {currency}, due {due}.",
        "{vendor}\nInvoice {number} of {date}",
        "Please pay {total} {currency} to {vendor} by {due}.",
        "Bill to: {customer}. Total due: {currency} {total}.",
        "We charge {total} {currency} for {items}.",
        "Your invoice from {vendor} dated {date} is {total} {currency}.",
        "Reminder: invoice {number} was due on {due}.",
        "Receipt {number}: {items}, {total} {currency} in all.",
    ),
    slots={
        "number": slot("number invoice_number invoice_id id", "the invoice's number", text_of(Words.code), "Invoice number: {}.", "No. {}."),
        "vendor": slot("vendor seller company supplier", "who sends the invoice", text_of(Words.company), "Sent by {}.", "Seller: {}."),
        "customer": slot("customer client bill_to", "who pays", text_of(Words.company), "Billed to {}.", "Customer: {}."),
        "total": slot("total amount sum", "the amount to pay", amount(5000), "Total {}.", "Amount due: {}."),
        "tax": slot("tax vat", "the tax in it", amount(400), "Tax: {}.", "Includes VAT of {}."),
        "currency": slot("currency", "the currency", choice({"EUR": ("EUR", "euro"), "USD": ("USD", "dollars"), "GBP": ("GBP", "pounds")}), "Currency: {}.", "All prices in {}."),
        "date": slot("date issued invoice_date", "date of the invoice", day, "Date {}.", "Issued on {}."),
        "due": slot("due due_date pay_by", "when it must be paid", day, "Due on {}.", "Pay by {}."),
        "items": slot("items lines line_items", "what was sold", line_items, "Items: {}.", "For {}."),
        "paid": slot("paid is_paid settled", "whether it is paid", choice({True: ("Already paid.", "Paid in full."), False: ("Not yet paid.", "Payment is open.")}), "{}"),
    },
)
_PLACES = ("town hall", "main library", "city park", "old theatre", "blue room", "sports centre")
_KINDS = ("concert", "meeting", "workshop", "party", "lecture", "exhibition", "wedding", "dinner")
EVENTS = Family(
    tasks=("Extract the event.", "Put this in the calendar.", "When and where?"),
    openings=(
        "The {kind} is on {date} at {time} in {city}.",
        "Join us for a {kind} in {city} on {date}.",
        "{host} invites you to a {kind} at the {place} on {date}.",
        "{title}: {date}, {time}, {place}.",
        "Do not miss {title} in {city}!",
        "Can we move the {kind} to {date} at {time}?",
        "On {date} {host} gives a {kind} for {guests} guests.",
        "{title} starts at {time} at the {place}.",
        "We expect {guests} people at the {kind} on {date}.",
        "Tickets for {title} cost {price}.",
        "{kind} with {host}, {city}, {date}.",
    ),
    slots={
        "title": slot("title event name", "name of the event", text_of(lambda w: f"{w.kept(w.invented)} {w.pick(('Festival', 'Days', 'Night', 'Fair', 'Summit', 'Cup'))}"), "It is called {}.", "Title: {}."),
        "kind": slot("kind type event_type", "what kind of event", text_of(lambda w: w.pick(_KINDS)), "It is a {}.", "Kind of event: {}."),
        "date": slot("date day when", "date of the event", day, "Date: {}.", "It is on {}."),
        "time": slot("time start starts_at", "when it starts", clock, "Starts at {}.", "Doors open at {}."),
        "city": slot("city town location", "in which city", text_of(Words.city), "City: {}.", "It is in {}."),
        "place": slot("place venue where", "where it is", text_of(lambda w: w.pick(_PLACES)), "Venue: {}.", "We meet at the {}."),
        "host": slot("host organizer speaker", "who gives it", text_of(Words.person), "Hosted by {}.", "Organizer: {}."),
        "guests": slot("guests attendees capacity", "how many people", whole(2, 900), "For {} guests.", "Room for {} people."),
        "price": slot("price ticket_price cost", "price of a ticket", amount(90, step=0.5), "Entry {}.", "A ticket is {}."),
        "free": slot("free is_free", "whether entry is free", choice({True: ("Entry is free.", "Free of charge."), False: ("Entry is not free.", "You need to pay.")}), "{}"),
    },
)
TICKETS = Family(
    tasks=("File this as a ticket.", "Triage this message.", "Read the support request."),
    openings=(
        "Hi, this is {name}, my {product} does not start.",
        "The {product} I got from order {order} is broken.",
        "{name} here. I cannot log in with {email}.",
        "My account {email} is locked.",
        "Since {date} the {product} makes a loud noise.",
        "Order {order} has not arrived.",
        "I bought a {product} on {date} and it stopped working.",
        "Customer {name} called about order {order}.",
        "Hello support, the {product} shows error {error}.",
        "Error {error} when I open the app.",
        "Ticket from {name} ({email}): {product} missing.",
    ),
    slots={
        "name": slot("name customer reporter", "who writes", text_of(Words.person), "My name is {}.", "Regards, {}"),
        "email": slot("email contact reply_to", "where to answer", text_of(Words.email, format="email"), "Reply to {}.", "My mail is {}."),
        "product": slot("product device item", "what it is about", text_of(Words.product), "Product: {}.", "It is the {}."),
        "order": slot("order order_id order_number", "the order's number", text_of(Words.code), "Order: {}.", "My order number is {}."),
        "error": slot("error error_code code", "the code of the error", whole(100, 999), "Error code {}.", "It says error {}."),
        "date": slot("date since bought", "since when", day, "Since {}.", "It began on {}."),
        "urgency": slot("urgency priority", "how urgent it is", URGENCY, "{}"),
        "refund": slot("refund wants_refund", "whether money is asked back", choice({True: ("I want my money back.", "Please refund me."), False: ("I do not want a refund.", "A repair is fine, no refund.")}), "{}"),
    },
)
REVIEWS = Family(
    tasks=("Rate this review.", "What does the reviewer think?", "Read the review."),
    openings=(
        "I bought this {product} from {brand}.",
        "{stars} out of 5 stars for the {product}.",
        "{author} gave the {product} {stars} stars.",
        "The {product} from {brand} arrived on {date}.",
        "Review of the {product} by {author}.",
        "My {brand} {product} cost {price}.",
        "{stars} stars.",
        "After a month with the {product}:",
        "Got the {product} as a present.",
        "{author} writes about the {brand} {product}:",
        "Paid {price} for this {product}.",
    ),
    slots={
        "product": slot("product item article", "the product", text_of(Words.product), "It is a {}.", "Product: {}."),
        "sentiment": slot("sentiment opinion mood", "what the writer thinks", SENTIMENT, "{}"),
        "stars": slot("stars rating score", "stars from 1 to 5", whole(1, 5), "Rating: {}.", "{} stars from me."),
        "author": slot("author reviewer user", "who wrote it", text_of(Words.person), "Written by {}.", "Signed {}."),
        "brand": slot("brand maker company", "who makes it", text_of(lambda w: w.kept(w.invented)), "Made by {}.", "Brand: {}."),
        "price": slot("price cost", "what it cost", amount(500), "Price: {}.", "I paid {}."),
        "date": slot("date bought reviewed_on", "the date", day, "Dated {}.", "Bought on {}."),
        "recommended": slot("recommended recommends would_recommend", "whether it is recommended", choice({True: ("I recommend it.", "Buy it!", "Everybody should have one."), False: ("I do not recommend it.", "Do not buy it.", "Stay away from it.")}), "{}"),
    },
)
ADDRESSES = Family(
    tasks=("Extract the address.", "Where does it go?", "Parse the address."),
    openings=(
        "{name}, {street}, {zip} {city}, {country}",
        "{name}\n{street}\n{zip} {city}",
        "Send the parcel to {name}, {street}, {city}.",
        "I moved to {street} in {city}.",
        "Our office: {street}, {zip} {city}.",
        "Ship to {street}, {city}, {country}. Ask for {name}.",
        "{name} lives at {street}.",
        "The new address is {street}, {zip} {city}.",
        "Deliver to: {name}, {street}, {zip} {city}.",
        "You find {name} in {city}, {street}.",
        "Visit us at {street}, {city} ({country}).",
    ),
    slots={
        "name": slot("name recipient addressee", "who gets it", text_of(Words.person), "Attention {}.", "The name on the bell is {}."),
        "street": slot("street address street_address", "street with number", text_of(Words.street), "Street: {}.", "The house is {}."),
        "zip": slot("zip postcode postal_code zip_code", "the postal code", text_of(lambda w: f"{w.rng.randint(10000, 99999)}"), "Postcode {}.", "ZIP: {}."),
        "city": slot("city town", "the city", text_of(Words.city), "City: {}.", "That is in {}."),
        "country": slot("country", "the country", text_of(lambda w: w.pick(_COUNTRIES)), "Country: {}.", "It is in {}."),
        "floor": slot("floor", "which floor", whole(1, 30), "Floor {}.", "We are on floor {}."),
        "phone": slot("phone telephone", "phone number", text_of(lambda w: "0" + str(w.rng.randint(10**6, 10**9))), "Phone {}.", "Call {}."),
    },
)

MESSAGES = Family(
    tasks=("Sort this message.", "What is it about?", "Route this message."),
    openings=(
        "{topic}",
        "{topic} {urgent}",
        "{name} here. {topic}",
        "Hello, {topic} {urgent}",
        "Order {order}. {topic}",
        "{topic} It has been {days} days.",
        "I have waited {days} days. {topic}",
        "{urgent} {topic}",
        "{topic} I ordered it on {date}.",
        "Hi, I am {name}. {topic} {urgent}",
    ),
    slots={
        "topic": slot("topic category type department", "what it is about", TOPIC, "{}"),
        "urgent": slot("urgent is_urgent", "whether it is urgent", URGENT, "{}"),
        "days": slot("days waited_days", "how many days", whole(2, 40), "That was {} days ago.", "{} days by now."),
        "name": slot("name customer sender", "who writes", text_of(Words.person), "My name is {}.", "Regards, {}"),
        "order": slot("order order_id order_number", "the order's number", text_of(Words.code), "Order: {}.", "The number is {}."),
        "date": slot("date ordered_on bought_on", "the day of the order", day, "Bought on {}.", "The order is of {}."),
    },
)
# fmt: on

FAMILIES: Mapping[str, Family] = {
    "people": PEOPLE,
    "orders": ORDERS,
    "invoices": INVOICES,
    "events": EVENTS,
    "tickets": TICKETS,
    "reviews": REVIEWS,
    "addresses": ADDRESSES,
    "messages": MESSAGES,
}
