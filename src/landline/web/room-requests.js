// What a user can do with rooms. These resolve when the change is durable, and reject with Refused
// (requests.js).

export class RoomRequests {
  #requests;
  #keep;

  /** `keep(event)` keeps an event of this user's: it comes to all others, but not to who asked for it. */
  constructor(requests, keep) {
    this.#requests = requests;
    this.#keep = keep;
  }

  /** Make a room; return it. `history`: what its members may read, "all" or "joined". */
  async create(title, members, history) {
    const wanted = { type: "create", members, history, ...(title !== "" && { title }) };
    const accepted = await this.#requests.change(wanted);
    await this.#keep({ ...accepted, type: "room", title });
    return accepted.conversation;
  }

  async setTitle(room, title) {
    const wanted = { type: "room", conversation: room, title: title || null };
    await this.#keep({ ...(await this.#requests.change(wanted)), type: "room", title });
  }

  async add(room, user) {
    await this.#change(room, { user, change: "add", role: "member" });
  }

  async remove(room, user) {
    await this.#change(room, { user, change: "remove", role: "member" });
  }

  async setRole(room, user, role) {
    await this.#change(room, { user, change: "role", role });
  }

  async #change(room, wanted) {
    const type = "member";
    const accepted = await this.#requests.change({ type, conversation: room, ...wanted });
    await this.#keep({ ...accepted, ...wanted, type });
  }
}
